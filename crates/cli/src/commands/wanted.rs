//! Which rows of the history are wanted: the filter and the options that `events` and `export` share.

use doorbook_event::Clock;
use doorbook_server::admin::Failure;
use doorbook_server::admin::request::EventsQuery;
use doorbook_server::filter::{Key, Terms, Wrong};
use jiff::tz::TimeZone;

use crate::system::SystemClock;
use crate::values;

#[derive(clap::Args)]
pub struct Wanted {
    /// What is wanted: result:failed user:svc-* ip:10.0.0.0/8 -class:system since:24h
    ///
    /// Terms stand side by side and must all hold; of one key any of its values. docs/filters.md has all
    /// keys.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// The project, by id or name [default: the only one there is]
    #[arg(long, value_name = "P", conflicts_with = "system")]
    project: Option<String>,
    /// Doorbook's own history: who changed, imported and asked
    #[arg(long, conflicts_with_all = ["cluster", "host"])]
    system: bool,
    /// The history of a namespace's arrays
    #[arg(long, value_name = "NS", conflicts_with_all = ["project", "system", "cluster", "host"])]
    namespace: Option<String>,
    /// Only of this array of the namespace: by name, id, or where it is stored
    #[arg(long, value_name = "A", requires = "namespace")]
    array: Option<String>,
    /// Only of this cluster
    #[arg(long, value_name = "C")]
    cluster: Option<String>,
    /// Only of this host, by any of its names
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// Earliest event time: RFC 3339, a day, or milliseconds since 1970
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Latest event time; of a day its last instant
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Where days begin: a name such as Europe/Berlin, or an offset
    #[arg(long, value_name = "ZONE", value_parser = values::time_zone, default_value = "UTC")]
    pub zone: TimeZone,
    /// Only successes, or only failures
    #[arg(long, value_parser = ["success", "failure"])]
    outcome: Option<String>,
    /// Only of this database user, exactly, in any database
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Only from this address or network; `unix` for Unix sockets
    #[arg(long, value_name = "A")]
    address: Option<String>,
    /// Only with this class; given several times: with any of them
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Only without this class; given several times: with none of them
    #[arg(long, value_name = "CLASS")]
    without: Vec<String>,
    /// The lines that could not be read instead of events
    #[arg(long)]
    quarantine: bool,
}

impl Wanted {
    /// What the zone is called.
    pub fn zone_name(&self) -> String {
        doorbook_server::filter::zone_name(&self.zone)
    }

    /// The question, without a limit; its times as instants, so that all pages are of one.
    pub fn query(&self) -> anyhow::Result<EventsQuery> {
        let filter = self.filter.iter().map(|term| term.trim_start());
        let typed = filter.collect::<Vec<_>>().join(" ");
        let filter = self.terms(&typed)?;
        Ok(EventsQuery {
            project: self.project.clone(),
            namespace: self.namespace.clone(),
            system: self.system,
            filter: filter.to_string(),
            typed: Some(typed),
            limit: 0,
            after: None,
        })
    }

    /// The filter, with an option as short for a term.
    fn terms(&self, filter: &str) -> anyhow::Result<Terms> {
        let wrong = |wrong: Wrong| Failure::invalid(wrong.explain(filter));
        let mut terms = Terms::parse(filter).map_err(wrong)?;
        let options = [
            ("--array", Key::Array, &self.array),
            ("--cluster", Key::Cluster, &self.cluster),
            ("--host", Key::Host, &self.host),
            ("--from", Key::From, &self.from),
            ("--to", Key::To, &self.to),
            ("--outcome", Key::Result, &self.outcome),
            ("--user", Key::User, &self.user),
            ("--address", Key::Ip, &self.address),
        ];
        for (name, key, value) in options {
            if let Some(value) = value {
                terms.add(name, key, value);
            }
        }
        self.class.iter().for_each(|class| terms.add("--class", Key::Class, class));
        self.without.iter().for_each(|class| terms.add_not("--without", Key::Class, class));
        if self.quarantine {
            terms.add("--quarantine", Key::Kind, "quarantine");
        }
        Ok(terms.at(SystemClock.now(), &self.zone).map_err(wrong)?)
    }
}
