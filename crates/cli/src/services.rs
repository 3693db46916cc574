//! [`Services`]: what a server does beside serving, as sections of the estate's file say that are no
//! part of the registry: `[[counters]]`, `[[receiver]]` and `[alarm]`.
//!
//! Begun with the server, and begun anew, each section for itself, when `doorbook apply` finds that the
//! section is another one, or a file that it names has other content. Of receivers, each for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use doorbook_event::{ProjectId, Text};
use doorbook_server::admin::{Failure, Reload};
use doorbook_server::alarm::{self, Alarms};
use doorbook_server::buckets::{self, Buckets};
use doorbook_server::counters::{self, ClusterSettings, Counters};
use doorbook_server::estate::Problem;
use doorbook_server::receiver::{self, Receivers, Wanted};
use tokio::runtime::Handle;

use crate::config::Config;

/// What a server does beside serving. Its threads are the given runtime's; every call here waits for
/// them, so that none may come from one of these.
pub struct Services {
    /// The estate's file, absolute; without one nothing is compared or received, and alarms are told to
    /// nobody.
    file: Option<PathBuf>,
    tools: Tools,
    running: Mutex<Running>,
}

/// What they work with.
pub struct Tools {
    /// Those of alarms; the others need nothing else.
    pub alarm: alarm::Tools,
    /// Where it stands how receivers are.
    pub receivers: receiver::Board,
    /// How buckets are reached, for those who watch them.
    pub buckets: Buckets,
    /// Where they run.
    pub runtime: Handle,
}

/// What runs, each with what it was begun from.
#[derive(Default)]
struct Running {
    counters: Option<(CountersSection, Counters)>,
    receivers: (ReceiversSection, Receivers),
    alarms: Option<(AlarmSection, Alarms)>,
    buckets: BucketsSection,
    has_begun: bool,
    is_over: bool,
}

/// `[[counters]]`, by project; its settings have no project yet.
#[derive(PartialEq)]
struct CountersSection {
    clusters: Vec<(Text, ClusterSettings)>,
    files: Contents,
}

/// `[[receiver]]`, in the same way.
#[derive(Default, PartialEq)]
struct ReceiversSection(Vec<(Text, Wanted)>);

/// `[[bucket]]`.
#[derive(Default, PartialEq)]
struct BucketsSection {
    settings: Vec<buckets::Settings>,
    files: Contents,
}

/// `[alarm]`.
#[derive(PartialEq)]
struct AlarmSection {
    settings: alarm::Settings,
    files: Contents,
}

/// What is in the files that a section names.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// A section that is to begin anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Counters,
    Receivers,
    Buckets,
    Alarm,
}

impl Services {
    /// Nothing runs yet.
    pub fn new(file: Option<PathBuf>, tools: Tools) -> Services {
        Services { file, tools, running: Mutex::default() }
    }

    /// Begins what the file says, which was applied to the registry.
    pub fn start(&self, config: Option<&Config>) -> Result<(), Failure> {
        if let Some(config) = config {
            config.check_services().map_err(refused)?;
        }
        self.follow(config)
    }

    /// Whether it was begun.
    pub fn have_begun(&self) -> bool {
        self.running().has_begun
    }

    /// Ends all for good: the counters, then nobody is alarmed any more, then what was sent is stored.
    pub fn stop(&self) {
        let mut running = self.running();
        running.is_over = true;
        if let Some((_, counters)) = running.counters.take() {
            self.tools.runtime.block_on(counters.stop());
        }
        if let Some((_, alarms)) = running.alarms.take() {
            self.tools.runtime.block_on(alarms.stop());
        }
        let (_, receivers) = std::mem::take(&mut running.receivers);
        self.tools.runtime.block_on(receivers.stop());
    }

    /// Begins anew what is to be otherwise.
    fn follow(&self, config: Option<&Config>) -> Result<(), Failure> {
        let mut running = self.running();
        if running.is_over {
            return Ok(());
        }
        running.has_begun = true;
        self.follow_buckets(&mut running, BucketsSection::of(config));
        self.follow_counters(&mut running, CountersSection::of(config))?;
        self.follow_receivers(&mut running, ReceiversSection::of(config))?;
        self.follow_alarms(&mut running, AlarmSection::of(config))
    }

    fn follow_buckets(&self, running: &mut Running, wanted: BucketsSection) {
        if running.buckets != wanted || !self.tools.buckets.is_told() {
            self.tools.buckets.set(wanted.settings.clone());
            running.buckets = wanted;
        }
    }

    fn follow_counters(
        &self,
        running: &mut Running,
        wanted: Option<CountersSection>,
    ) -> Result<(), Failure> {
        if running.counters.as_ref().map(|(section, _)| section) == wanted.as_ref() {
            return Ok(());
        }
        if let Some((_, counters)) = running.counters.take() {
            self.tools.runtime.block_on(counters.stop());
        }
        if let Some(section) = wanted {
            let counters = self.counters(&section)?;
            running.counters = Some((section, counters));
        }
        let board = running.counters.as_ref().map(|(_, counters)| counters.board());
        self.tools.alarm.app.metrics().set_counters(board);
        Ok(())
    }

    fn follow_receivers(
        &self,
        running: &mut Running,
        wanted: ReceiversSection,
    ) -> Result<(), Failure> {
        let (section, receivers) = &mut running.receivers;
        if *section == wanted {
            return Ok(());
        }
        let following = self.follow_each(receivers, &wanted);
        following.map_err(|error| Failure::failed(error.to_string()))?;
        *section = wanted;
        Ok(())
    }

    fn follow_alarms(&self, running: &mut Running, wanted: AlarmSection) -> Result<(), Failure> {
        if running.alarms.as_ref().is_some_and(|(section, _)| *section == wanted) {
            return Ok(());
        }
        let destinations = wanted.settings.destinations();
        let destinations = destinations.map_err(|error| Failure::invalid(error.to_string()))?;
        if let Some((_, alarms)) = running.alarms.take() {
            self.tools.runtime.block_on(alarms.stop());
        }
        let alarms = Alarms::start(destinations, &self.tools.alarm, &self.tools.runtime);
        running.alarms = Some((wanted, alarms));
        Ok(())
    }

    fn counters(&self, section: &CountersSection) -> Result<Counters, Failure> {
        let alarm::Tools { store, clock, random, .. } = &self.tools.alarm;
        let catalog = store.catalog();
        let settings = section.clusters.iter().filter_map(|(project, settings)| {
            let project = catalog.registry.project_named(project)?.id;
            Some(ClusterSettings { project, ..settings.clone() })
        });
        let settings = counters::Settings::new(settings.collect());
        Counters::start(&settings, store, clock, random, &self.tools.runtime)
            .map_err(|error| Failure::invalid(error.to_string()))
    }

    fn follow_each(
        &self,
        receivers: &mut Receivers,
        section: &ReceiversSection,
    ) -> Result<(), receiver::StartError> {
        let alarm::Tools { store, clock, app, .. } = &self.tools.alarm;
        let catalog = store.catalog();
        let wanted = section.0.iter().filter_map(|(project, wanted)| {
            let mut wanted = wanted.clone();
            wanted.settings.project = catalog.registry.project_named(project)?.id;
            Some(wanted)
        });
        let wanted: Vec<Wanted> = wanted.collect();
        let router = app.lines().clone();
        let tools = receiver::Tools {
            sink: Arc::new(move |door, arrivals| router.take(door, arrivals).map(drop)),
            clock: clock.clone(),
            board: self.tools.receivers.clone(),
            limits: receiver::Limits::default(),
        };
        self.tools.runtime.block_on(receivers.follow(&wanted, &tools))
    }

    /// The file as it is now.
    fn config(&self) -> Result<Option<Config>, Failure> {
        let config = self.file.as_deref().map(Config::read).transpose();
        config.map_err(refused)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reload for Services {
    fn is_of(&self, file: &Path) -> bool {
        self.running().has_begun && self.file.as_deref() == Some(file)
    }

    fn differs(&self) -> Result<Vec<&'static str>, Failure> {
        let config = self.config()?;
        if let Some(config) = &config {
            config.check_services().map_err(refused)?;
        }
        let running = self.running();
        if let Some(config) = &config {
            can_listen(config, &running.receivers.1)?;
        }
        let counters = running.counters.as_ref().map(|(section, _)| section);
        let (receivers, _) = &running.receivers;
        let alarm = running.alarms.as_ref().map(|(section, _)| section);
        let is_other = |section: &Section| match section {
            Section::Counters => counters != CountersSection::of(config.as_ref()).as_ref(),
            Section::Receivers => *receivers != ReceiversSection::of(config.as_ref()),
            Section::Buckets => running.buckets != BucketsSection::of(config.as_ref()),
            Section::Alarm => alarm != Some(&AlarmSection::of(config.as_ref())),
        };
        let sections = [Section::Counters, Section::Receivers, Section::Buckets, Section::Alarm];
        Ok(sections.into_iter().filter(is_other).map(Section::title).collect())
    }

    fn reload(&self) -> Result<(), Failure> {
        self.follow(self.config()?.as_ref())
    }
}

impl Section {
    const fn title(self) -> &'static str {
        match self {
            Section::Counters => "[[counters]]",
            Section::Receivers => "[[receiver]]",
            Section::Buckets => "[[bucket]]",
            Section::Alarm => "[alarm]",
        }
    }
}

impl CountersSection {
    fn of(config: Option<&Config>) -> Option<CountersSection> {
        // Which project it is of is told by its name; the id may not be known yet.
        let any = ProjectId::new([0; 12]);
        let counters = config?.counters();
        let clusters: Vec<_> =
            counters.iter().map(|one| (one.project.clone(), one.settings_of(any))).collect();
        let named = clusters.iter().flat_map(|(_, settings)| {
            [Some(&settings.password_file), settings.ca_file.as_ref()].into_iter().flatten()
        });
        let files = contents(named);
        (!clusters.is_empty()).then_some(CountersSection { clusters, files })
    }
}

impl ReceiversSection {
    fn of(config: Option<&Config>) -> ReceiversSection {
        let any = ProjectId::new([0; 12]);
        let receivers = config.map(Config::receivers).unwrap_or_default();
        let wanted =
            receivers.iter().map(|one| (one.project.clone(), Wanted::new(one.settings_of(any))));
        ReceiversSection(wanted.collect())
    }
}

impl BucketsSection {
    fn of(config: Option<&Config>) -> BucketsSection {
        let buckets = config.map(Config::buckets).unwrap_or_default();
        let settings: Vec<_> = buckets.into_iter().map(|bucket| bucket.settings).collect();
        let files = contents(settings.iter().flat_map(|settings| {
            let secret = settings.key.as_ref().map(|(_, file)| file);
            [secret, settings.ca_file.as_ref()].into_iter().flatten()
        }));
        BucketsSection { settings, files }
    }
}

impl AlarmSection {
    fn of(config: Option<&Config>) -> AlarmSection {
        let settings = config.map(Config::alarm).unwrap_or_default();
        let named = settings.webhook.iter().flat_map(|webhook| {
            [Some(&webhook.secret_file), webhook.ca_file.as_ref()].into_iter().flatten()
        });
        let files = contents(named);
        AlarmSection { settings, files }
    }
}

/// Whether each receiver of a file could listen, so that one that cannot is told before anything is changed.
fn can_listen(config: &Config, receivers: &Receivers) -> Result<(), Failure> {
    let wanted = config.receivers();
    let deaf = wanted.iter().filter_map(|wanted| {
        let error = receivers.check(wanted.listen()).err()?;
        let message = format!("{error}; nothing was changed");
        Some(Problem { place: wanted.place, message })
    });
    let deaf: Vec<Problem> = deaf.collect();
    match deaf.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!("{:#}", config.refused(deaf)))),
    }
}

/// What can be read of files; that one cannot be is said where it is used.
fn contents<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Contents {
    files.filter_map(|file| Some((file.clone(), std::fs::read(file).ok()?))).collect()
}

/// What is wrong with the file, for someone who gave a command to the server.
fn refused(error: anyhow::Error) -> Failure {
    Failure::invalid(format!("{error:#}"))
}
