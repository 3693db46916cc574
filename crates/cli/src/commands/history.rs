//! [`History`]: where commands that read get their answers: the data directory, or a server over the network.
//! Both are asked for the same operations of our own API, so that they answer the same.

use doorbook_server::admin::request::{EventsQuery, ReadRequest};
use doorbook_server::admin::{Connection, Failure, Reply, Request};
use serde::de::DeserializeOwned;

use super::{DataDir, out_of_turn};
use crate::remote::{Remote, ServerArgs, encoded};

/// A history that can be asked.
pub struct History {
    place: Place,
    of: EventsQuery,
}

enum Place {
    Here(Connection),
    There(Remote),
}

/// An operation of our own API, by its name in OpenAPI and its path, in which `{name}` stands for a name.
#[derive(Clone, Copy)]
pub struct Operation(pub &'static str, pub &'static str);

impl History {
    /// Of what a query is about: its project, its namespace, or Doorbook's own.
    pub fn open(
        data_dir: &DataDir,
        server: &ServerArgs,
        of: &EventsQuery,
    ) -> anyhow::Result<History> {
        let place = match server.remote()? {
            Some(remote) => {
                refuse_system(of)?;
                Place::There(remote)
            }
            None => Place::Here(data_dir.open()?),
        };
        Ok(History { place, of: of.clone() })
    }

    /// What an operation answers; `name` is what its path names, if it does.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        operation: Operation,
        name: Option<&str>,
        parameters: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let Operation(id, path) = operation;
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut parameters: Vec<(String, String)> = parameters.collect();
        match &mut self.place {
            Place::Here(connection) => {
                let request = ReadRequest {
                    project: self.of.project.clone(),
                    system: self.of.system,
                    namespace: self.of.namespace.clone(),
                    operation: id.to_owned(),
                    name: name.map(str::to_owned),
                    // Who asked is recorded with the first page.
                    goes_on: parameters.iter().any(|(name, _)| name == "cursor"),
                    parameters,
                };
                read(connection, request)
            }
            Place::There(remote) => {
                // A cursor has all that was asked for.
                if !parameters.iter().any(|(name, _)| name == "cursor") {
                    parameters.extend(scope(&self.of));
                }
                remote.get(&named(path, name), &parameters)
            }
        }
    }

    /// Lets go of it.
    pub fn close(self) -> Result<(), Failure> {
        match self.place {
            Place::Here(connection) => connection.close(),
            Place::There(_) => Ok(()),
        }
    }
}

/// A path with what it names.
pub fn named(path: &str, name: Option<&str>) -> String {
    path.replace("{name}", &encoded(name.unwrap_or_default()))
}

/// No server tells over the network who used Doorbook itself.
pub fn refuse_system(of: &EventsQuery) -> Result<(), Failure> {
    match of.system {
        true => Err(Failure::invalid(
            "--system is in the data directory, and no key may read it: without --server",
        )),
        false => Ok(()),
    }
}

/// Whose history, as parameters.
pub fn scope(of: &EventsQuery) -> impl Iterator<Item = (String, String)> {
    let project = of.project.clone().map(|project| ("project".to_owned(), project));
    let namespace = of.namespace.clone().map(|namespace| ("namespace".to_owned(), namespace));
    project.into_iter().chain(namespace)
}

/// What an operation answers on this machine.
pub fn read<T: DeserializeOwned>(
    connection: &mut Connection,
    request: ReadRequest,
) -> anyhow::Result<T> {
    match connection.execute(Request::Read(Box::new(request)))? {
        Reply::Read(answer) => Ok(serde_json::from_str(&answer)?),
        other => Err(out_of_turn(&other)),
    }
}
