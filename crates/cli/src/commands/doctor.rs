//! `doorbook doctor`.

use std::path::{Path, PathBuf};

use doorbook_event::record::ClockState;
use doorbook_server::admin::doctor::certificate::certificate;
use doorbook_server::admin::doctor::{Finding, State};
use doorbook_server::admin::{Connection, Failure, Reply, Request};

use super::{DataDir, out_of_turn};
use crate::config::Config;
use crate::{output, system};

/// Exit codes: 0 where nothing is wrong or only warnings were given, 1 where a check failed.
#[derive(clap::Args)]
pub struct Args {
    /// The file of the estate, for the certificate that its [server] names
    #[arg(long, value_name = "FILE", env = "DOORBOOK_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The server's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let mut findings = history(data_dir);
    findings.push(clock(&system::clock_state()));
    match tls_cert(&args) {
        Ok(Some(path)) => {
            let now = system::store_options(PathBuf::new()).clock.now();
            findings.push(certificate(&path, now));
        }
        Ok(None) => {}
        Err(error) => findings.push(Finding::fail(
            "configuration",
            format!("{error:#}"),
            "doorbook config check says more",
        )),
    }
    match args.json {
        true => output::json(&findings)?,
        false => findings.iter().try_for_each(print)?,
    }
    match findings.iter().filter(|finding| finding.state == State::Fail).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("1 check failed").into()),
        n => Err(Failure::failed(format!("{n} checks failed")).into()),
    }
}

/// What the data directory says of itself, through the server where one runs; one that does not open
/// is a finding, too.
fn history(data_dir: &DataDir) -> Vec<Finding> {
    let asked = data_dir.open().and_then(|mut connection| {
        let is_served = matches!(connection, Connection::There(_));
        let reply = connection.execute(Request::Doctor);
        connection.close()?;
        Ok((is_served, reply?))
    });
    match asked {
        Ok((is_served, Reply::Doctor { version, findings })) => {
            let ours = env!("CARGO_PKG_VERSION");
            [server(is_served, &version, ours)].into_iter().chain(findings).collect()
        }
        Ok((_, other)) => vec![does_not_open(&out_of_turn(&other).to_string(), &data_dir.path())],
        Err(failure) => vec![does_not_open(&failure.message, &data_dir.path())],
    }
}

fn server(is_served: bool, version: &str, ours: &str) -> Finding {
    match (is_served, version == ours) {
        (false, _) => Finding::warn(
            "server",
            "no server runs: nothing is followed and nobody is answered",
            "start doorbook serve, or its unit",
        ),
        (true, true) => Finding::ok("server", format!("version {version} answers")),
        (true, false) => Finding::fail(
            "server",
            format!("the server is version {version}, this program {ours}"),
            "restart the server with the new binary",
        ),
    }
}

fn does_not_open(why: &str, data_dir: &Path) -> Finding {
    Finding::fail(
        "data directory",
        why,
        format!("doorbook --data-dir {} verify names what is damaged", data_dir.display()),
    )
}

/// What the kernel says of its clock, and with it whoever keeps it.
fn clock(state: &ClockState) -> Finding {
    let advice = "run chronyd, ntpd or systemd-timesyncd: times of events are compared over hosts";
    match (state.synchronised, state.error_max_micros) {
        (Some(true), Some(error_max)) => {
            let seen = format!("it is synchronised, to {} ms at worst", error_max / 1000);
            Finding::ok("clock", seen)
        }
        (Some(true), None) => Finding::ok("clock", "it is synchronised"),
        (Some(false), _) => Finding::warn("clock", "it is not synchronised", advice),
        (None, _) => {
            Finding::warn("clock", "the system does not say whether it is synchronised", advice)
        }
    }
}

fn tls_cert(args: &Args) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = &args.tls_cert {
        return Ok(Some(path.clone()));
    }
    let Some(file) = &args.config else { return Ok(None) };
    Ok(Config::read(file)?.server().tls.map(|files| files.certificate))
}

/// `ok    check: what was seen`, and below it what to do.
fn print(finding: &Finding) -> anyhow::Result<()> {
    let word = match finding.state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "fail",
    };
    let Finding { check, seen, advice, .. } = finding;
    match advice.is_empty() {
        true => output::line(&format!("{word:<5} {check}: {seen}")),
        false => output::line(&format!("{word:<5} {check}: {seen}; {advice}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_and_the_server_are_judged() {
        let state =
            |synchronised| clock(&ClockState { synchronised, ..ClockState::default() }).state;
        assert_eq!(state(Some(true)), State::Ok);
        assert_eq!(state(Some(false)), State::Warn);
        assert_eq!(state(None), State::Warn);
        assert_eq!(server(true, "1", "1").state, State::Ok);
        assert_eq!(server(true, "1", "2").state, State::Fail);
        assert_eq!(server(false, "1", "1").state, State::Warn);
    }
}
