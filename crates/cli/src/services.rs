//! [`Services`]: what a server does beside serving, as sections of the estate's file say that are no
//! part of the registry: `[[counters]]` and `[alarm]`.
//!
//! Begun with the server, and begun anew, each section for itself, when `doorbook apply` finds that the
//! section is another one, or a file that it names has other content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorbook_event::{ProjectId, Text};
use doorbook_server::admin::{Failure, Reload};
use doorbook_server::alarm::{self, Alarms};
use doorbook_server::counters::{self, ClusterSettings, Counters};
use tokio::runtime::Handle;

use crate::config::Config;

/// What a server does beside serving. Its threads are the given runtime's; every call here waits for
/// them, so that none may come from one of these.
pub struct Services {
    /// The estate's file, absolute; without one there are no counters, and alarms are told to nobody.
    file: Option<PathBuf>,
    tools: alarm::Tools,
    runtime: Handle,
    running: Mutex<Running>,
}

/// What runs, each with what it was begun from.
#[derive(Default)]
struct Running {
    counters: Option<(CountersSection, Counters)>,
    alarms: Option<(AlarmSection, Alarms)>,
    has_begun: bool,
    is_over: bool,
}

/// `[[counters]]`, by project; its settings have no project yet.
#[derive(PartialEq)]
struct CountersSection {
    clusters: Vec<(Text, ClusterSettings)>,
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
    Alarm,
}

impl Services {
    /// Nothing runs yet.
    pub fn new(file: Option<PathBuf>, tools: alarm::Tools, runtime: Handle) -> Services {
        Services { file, tools, runtime, running: Mutex::default() }
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

    /// Ends all for good: first the counters, then nobody is alarmed any more.
    pub fn stop(&self) {
        let mut running = self.running();
        running.is_over = true;
        if let Some((_, counters)) = running.counters.take() {
            self.runtime.block_on(counters.stop());
        }
        if let Some((_, alarms)) = running.alarms.take() {
            self.runtime.block_on(alarms.stop());
        }
    }

    /// Begins anew what is to be otherwise.
    fn follow(&self, config: Option<&Config>) -> Result<(), Failure> {
        let mut running = self.running();
        if running.is_over {
            return Ok(());
        }
        running.has_begun = true;
        let wanted_counters = CountersSection::of(config);
        if running.counters.as_ref().map(|(section, _)| section) != wanted_counters.as_ref() {
            if let Some((_, counters)) = running.counters.take() {
                self.runtime.block_on(counters.stop());
            }
            if let Some(section) = wanted_counters {
                let counters = self.counters(&section)?;
                self.tools.app.metrics().set_counters(Some(counters.board()));
                running.counters = Some((section, counters));
            } else {
                self.tools.app.metrics().set_counters(None);
            }
        }
        let section = AlarmSection::of(config);
        if running.alarms.as_ref().is_none_or(|(known, _)| *known != section) {
            if let Some((_, alarms)) = running.alarms.take() {
                self.runtime.block_on(alarms.stop());
            }
            let destinations = section.settings.destinations();
            let destinations = destinations.map_err(|error| Failure::invalid(error.to_string()))?;
            let alarms = Alarms::start(destinations, &self.tools, &self.runtime);
            running.alarms = Some((section, alarms));
        }
        Ok(())
    }

    fn counters(&self, section: &CountersSection) -> Result<Counters, Failure> {
        let alarm::Tools { store, clock, random, .. } = &self.tools;
        let catalog = store.catalog();
        let settings = section.clusters.iter().filter_map(|(project, settings)| {
            let project = catalog.registry.project_named(project)?.id;
            Some(ClusterSettings { project, ..settings.clone() })
        });
        let settings = counters::Settings::new(settings.collect());
        Counters::start(&settings, store, clock, random, &self.runtime)
            .map_err(|error| Failure::invalid(error.to_string()))
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
        let counters = running.counters.as_ref().map(|(section, _)| section);
        let alarm = running.alarms.as_ref().map(|(section, _)| section);
        let is_other = |section: &Section| match section {
            Section::Counters => counters != CountersSection::of(config.as_ref()).as_ref(),
            Section::Alarm => alarm != Some(&AlarmSection::of(config.as_ref())),
        };
        let sections = [Section::Counters, Section::Alarm];
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

/// What can be read of files; that one cannot be is said where it is used.
fn contents<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Contents {
    files.filter_map(|file| Some((file.clone(), std::fs::read(file).ok()?))).collect()
}

/// What is wrong with the file, for someone who gave a command to the server.
fn refused(error: anyhow::Error) -> Failure {
    Failure::invalid(format!("{error:#}"))
}
