//! The sample log of `doorbook quickstart`: a real log's form, written by us, with its dates moved
//! so that it ends now. The API's default window is the last 7 days, and a first answer must not be
//! empty.

use doorbook_event::Timestamp;

/// The log, with the dates it was written with. It can be imported as it is, too.
const SAMPLE: &str = include_str!("../sample/mongod.log");

/// The host that it names as its own.
pub const HOST: &str = "db-1.example.com:27017";

/// What stands before each line's time.
const DATE: &str = r#""$date":""#;

/// The sample as if its last line had been written at `end`.
pub fn sample(end: Timestamp) -> String {
    let times: Vec<Option<Timestamp>> = SAMPLE.lines().map(time_of).collect();
    let last = times.iter().flatten().max().copied().unwrap_or(end);
    let shift_micros = end.micros() - last.micros();
    let mut moved = String::with_capacity(SAMPLE.len());
    for (line, time) in SAMPLE.lines().zip(times) {
        match (line.split_once(DATE), time) {
            (Some((before, after)), Some(time)) => {
                let rest = &after[after.find('"').unwrap_or(0)..];
                let time = time.plus_micros(shift_micros).to_jiff();
                let time = time.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00");
                moved.push_str(&format!("{before}{DATE}{time}{rest}\n"));
            }
            _ => {
                moved.push_str(line);
                moved.push('\n');
            }
        }
    }
    moved
}

fn time_of(line: &str) -> Option<Timestamp> {
    let (_, after) = line.split_once(DATE)?;
    after.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_ends_when_it_is_told_to() {
        let end = Timestamp::from_millis(1_800_000_000_123);
        let moved = sample(end);
        assert_eq!(moved.lines().count(), SAMPLE.lines().count());
        let times: Vec<_> = moved.lines().map(|line| time_of(line).expect("a time")).collect();
        assert!(times.is_sorted());
        assert_eq!(times.last(), Some(&end));
        // Only the dates have changed.
        let without = |log: &str| -> Vec<String> {
            let rest = |line: &str| line.split_once('}').expect("JSON").1.to_owned();
            log.lines().map(rest).collect()
        };
        assert_eq!(without(&moved), without(SAMPLE));
    }

    #[test]
    fn the_sample_names_the_host() {
        let (name, port) = HOST.split_once(':').expect("both");
        assert!(SAMPLE.contains(&format!(r#""host":"{name}""#)));
        assert!(SAMPLE.contains(&format!(r#""port":{port}"#)));
    }
}
