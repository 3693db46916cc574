//! Of one project: who may what, and its clusters.

use doorbook_event::Text;
use doorbook_event::registry::{Cluster, Host, Key, Role, ServiceAccount};
use maud::{Markup, html};

use super::super::act::{Act, Field};
use super::super::text::shown;
use super::super::when;
use super::people::words;
use super::{Section, Shown, Table, WORDS, Whose, role, roles};
use crate::admin::Request;
use crate::admin::arrays::ArraysRequest;

pub const ROLES: Section =
    Section { whose: Whose::Project, show: roles_of_users, acts: &[&GRANT, &REVOKE] };

static GRANT: Act = Act {
    word: "grant",
    summary: "Grant a role…",
    hint: "Instead of the one that the user has here, if there is one.",
    fields: &[
        Field::text("User", "user"),
        Field::choice("Role", "role", |_| roles(|role| role != Role::Shipper)),
    ],
    button: "Grant",
    request: |sent| {
        let (user, project, role) = (sent.text("user"), sent.text("project"), role(sent)?);
        Ok(Request::Arrays(ArraysRequest::UserGrant { user, project, role }))
    },
    done: "The role is granted.",
};

static REVOKE: Act = Act {
    word: "revoke",
    summary: "Take away…",
    hint: "",
    fields: &[],
    button: "Take the role away",
    request: |sent| {
        let (user, project) = (sent.text("user"), sent.text("project"));
        Ok(Request::Arrays(ArraysRequest::UserRevoke { user, project }))
    },
    done: "The user has no role here any more.",
};

fn roles_of_users(page: &Shown<'_>) -> Markup {
    let Some(project) = page.project else { return html! {} };
    let users = page.registry.arrays().users();
    let granted = users
        .filter_map(|user| Some((&user.name, page.registry.role_of_user(&user.name, project.id)?)));
    let row = |(user, role): &(&Text, Role)| {
        html! {
            tr {
                th scope="row" { (shown(user)) }
                td { (role.title()) div.more { code { (role.api_name()) } } }
                td { (page.forms.form(&REVOKE, &[("user", user)])) }
            }
        }
    };
    let columns = &["User", "Role", "Change"].map(|name| (name, WORDS));
    let table = Table { title: "Roles of users", columns, none: "No user has a role here." };
    table.of(granted, row, page.forms.form(&GRANT, &[]))
}

pub const KEYS: Section =
    Section { whose: Whose::Project, show: keys, acts: &[&NEW_KEY, &END_KEY] };

static NEW_KEY: Act = Act {
    word: "create-key",
    summary: "New key…",
    hint: "The key of an agent can follow the sources that name the agent, and do nothing else: its role is Project Shipper.",
    fields: &[
        Field::choice("Role", "role", |_| roles(|_| true)),
        Field::optional("Agent, if it is the key of one", "agent"),
    ],
    button: "Make it",
    request: |sent| {
        let (project, agent) = (sent.text("project"), sent.some("agent").map(Text::from));
        let role = if agent.is_some() { Role::Shipper } else { role(sent)? };
        Ok(Request::KeyCreate { project, role, agent })
    },
    done: "The key was made.",
};

static END_KEY: Act = Act {
    word: "end-key",
    summary: "End it…",
    hint: "Programs that use it are refused at once.",
    fields: &[],
    button: "End this key",
    request: |sent| Ok(Request::KeyDelete { public_key: sent.text("key") }),
    done: "The key is ended.",
};

fn keys(page: &Shown<'_>) -> Markup {
    let keys = page.registry.keys().filter(|key| is_here(page, key.project));
    let row = |key: &&Key| {
        html! {
            tr {
                th scope="row" { code { (key.public) } }
                td { (key.role.title()) }
                td { @if let Some(agent) = &key.agent { (shown(agent)) } @else { span.empty { "–" } } }
                td.when { (when::to_the_second(key.created)) }
                td { (page.forms.form(&END_KEY, &[("key", &key.public)])) }
            }
        }
    };
    let columns = &["Public half", "Role", "Agent", "Since", "Change"].map(|name| (name, WORDS));
    Table { title: "Keys", columns, none: "None." }.of(keys, row, page.forms.form(&NEW_KEY, &[]))
}

pub const SERVICE_ACCOUNTS: Section = Section {
    whose: Whose::Project,
    show: service_accounts,
    acts: &[&NEW_SERVICE_ACCOUNT, &END_SERVICE_ACCOUNT],
};

static NEW_SERVICE_ACCOUNT: Act = Act {
    word: "create-service-account",
    summary: "New service account…",
    hint: "For programs that get a token by OAuth with a client id and a secret.",
    fields: &[Field::choice("Role", "role", |_| roles(|_| true))],
    button: "Make it",
    request: |sent| {
        Ok(Request::ServiceAccountCreate { project: sent.text("project"), role: role(sent)? })
    },
    done: "The service account was made.",
};

static END_SERVICE_ACCOUNT: Act = Act {
    word: "end-service-account",
    summary: "End it…",
    hint: "Programs that use it are refused at once.",
    fields: &[],
    button: "End this service account",
    request: |sent| Ok(Request::ServiceAccountDelete { client_id: sent.text("client") }),
    done: "The service account is ended.",
};

fn service_accounts(page: &Shown<'_>) -> Markup {
    let accounts = page.registry.service_accounts();
    let accounts = accounts.filter(|account| is_here(page, account.project));
    let row = |account: &&ServiceAccount| {
        html! {
            tr {
                th scope="row" { code { (account.client_id) } }
                td { (account.role.title()) }
                td.when { (when::to_the_second(account.created)) }
                td { (page.forms.form(&END_SERVICE_ACCOUNT, &[("client", &account.client_id)])) }
            }
        }
    };
    let columns = &["Client id", "Role", "Since", "Change"].map(|name| (name, WORDS));
    let table = Table { title: "Service accounts", columns, none: "None." };
    table.of(accounts, row, page.forms.form(&NEW_SERVICE_ACCOUNT, &[]))
}

pub const CLUSTERS: Section =
    Section { whose: Whose::Project, show: clusters, acts: &[&NEW_CLUSTER, &ADD_HOST, &ADD_ALIAS] };

static NEW_CLUSTER: Act = Act {
    word: "create-cluster",
    summary: "New cluster…",
    hint: "",
    fields: &[Field::text("Name", "name"), Field::text("Hosts, with spaces between", "hosts")],
    button: "Make it",
    request: |sent| {
        let (project, hosts) = (sent.text("project"), words(&sent.text("hosts")));
        Ok(Request::ClusterCreate { name: sent.text("name"), project, hosts })
    },
    done: "The cluster was made.",
};

static ADD_HOST: Act = Act {
    word: "add-host",
    summary: "Add a host…",
    hint: "",
    fields: &[
        Field::text("Host, with its port if that is not 27017", "host"),
        Field::optional("Other names of it, with spaces between", "aliases"),
    ],
    button: "Add",
    request: |sent| {
        Ok(Request::HostAdd {
            project: sent.text("project"),
            cluster: sent.text("cluster"),
            host: sent.text("host"),
            aliases: words(&sent.text("aliases")),
        })
    },
    done: "The host was added.",
};

static ADD_ALIAS: Act = Act {
    word: "add-alias",
    summary: "Another name…",
    hint: "By which people know it, or its log calls it. It stays: what was recorded is found by it.",
    fields: &[Field::text("Name", "alias")],
    button: "Add",
    request: |sent| {
        Ok(Request::HostAlias {
            project: sent.text("project"),
            host: sent.text("of-host"),
            alias: sent.text("alias"),
        })
    },
    done: "The host has that name, too.",
};

fn clusters(page: &Shown<'_>) -> Markup {
    let Some(project) = page.project else { return html! {} };
    let host = |host: &Host| {
        let name = host.name.to_string();
        html! {
            div { (shown(&name))
                @for alias in &host.aliases { span.more { "also " (shown(alias)) } }
                @if page.powers.server { (page.forms.form(&ADD_ALIAS, &[("of-host", &name)])) } }
        }
    };
    let row = |cluster: &&Cluster| {
        let hosts = page.registry.hosts(project.id).filter(|host| host.cluster == cluster.name);
        html! {
            tr {
                th scope="row" { (shown(&cluster.name)) }
                td {
                    @for one in hosts { (host(one)) }
                    @if page.powers.server { (page.forms.form(&ADD_HOST, &[("cluster", &cluster.name)])) }
                }
                td.when { (when::to_the_second(cluster.created)) }
            }
        }
    };
    let columns = &["Cluster", "Hosts", "Since"].map(|name| (name, WORDS));
    let below = html! { @if page.powers.server { (page.forms.form(&NEW_CLUSTER, &[])) } };
    let table = Table { title: "Clusters", columns, none: "None." };
    table.of(page.registry.clusters(project.id), row, below)
}

fn is_here(page: &Shown<'_>, project: doorbook_event::ProjectId) -> bool {
    page.project.is_some_and(|here| here.id == project)
}
