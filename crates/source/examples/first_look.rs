//! The first look at an array on disk, without storing: `first_look FOLDER`. Prints how many events it shows.

use doorbook_event::{Target, Timestamp};
use doorbook_source::tiledb::ArrayWatch;
use doorbook_source::tiledb::disk::DiskArray;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("the array's folder is missing")?;
    let target = Target::Array { namespace: "bench".into(), array: "bench".into() };
    let mut watch = ArrayWatch::new(target, "bench".into(), b"")?;
    let mut array = DiskArray::open(folder.as_ref())?;
    let listing = array.list()?;
    watch.scan(listing, &mut array, Timestamp::MAX);
    let mut events = 0;
    while let Some(batch) = watch.take() {
        events += batch.accesses.len();
    }
    println!("{events}");
    Ok(())
}
