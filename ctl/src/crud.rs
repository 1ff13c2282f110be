//! The commands that work through resources: create, apply, replace, delete, validate, get, patch, label.
//! Source: `calicoctl.md` §3 and §5 of the contract.

#[cfg(test)]
mod tests;

use crate::cli::{FileArgs, PlaceArgs};
use crate::input::{self, Given};
use crate::io::{Failure, Io};
use crate::label::{Change, Named};
use crate::merge;
use crate::namespace::NamespaceFlags;
use crate::persona::Persona;
use crate::print::{Format, Found};
use crate::session::{Session, explain, unless_unreachable};
use crate::tally::{Tally, Verb};
use crate::verbs;
use datastore::{Bootstrap, Client, ClientError, ListOptions};
use model::columns::Facts;
use model::schema::{self, DecodeError};
use model::{Kind, Resource};
use serde_json::Value;
use std::fmt::Write;

/// AS number of a cluster whose BGPConfiguration names none.
const DEFAULT_AS_NUMBER: &str = "64512";

/// What a command is to work on, before the datastore is asked.
pub enum Target {
    /// These resources.
    Given(Vec<Given>),
    /// All of a kind.
    All(Kind),
}

/// Finds out what a command is to work on; none when there is nothing to do, which has been said.
///
/// # Errors
/// Input that cannot be used; `prefix` goes before the refusal of arguments.
pub fn target(
    persona: Persona,
    words: &[String],
    files: &FileArgs,
    prefix: &str,
    io: &mut Io,
) -> Result<Option<Target>, Failure> {
    // pflag keeps the last of several; under our own name all of them count.
    let all = files.filename.as_slice();
    let names =
        if persona.is_calicoctl() { all.get(all.len().saturating_sub(1)..).unwrap_or_default() } else { all };
    if !names.is_empty() {
        let mut given = Vec::new();
        for name in names {
            let read = input::read(files, name, io.input.as_mut());
            given.extend(read.map_err(|error| Failure::Message(error.message(persona)))?);
        }
        return if given.is_empty() {
            io.line("No resources specified").map(|()| None)
        } else {
            Ok(Some(Target::Given(given)))
        };
    }
    let (kind, names) = input::named(words).map_err(|text| Failure::Message(format!("{prefix}{text}")))?;
    if names.is_empty() {
        return Ok(Some(Target::All(kind)));
    }
    let resources = names.into_iter().map(|name| Given { resource: nameless(kind, name), origin: None });
    Ok(Some(Target::Given(resources.collect())))
}

/// A resource of which only kind and name are known.
fn nameless(kind: Kind, name: &str) -> Resource {
    Resource::new(kind, "", name)
}

/// The error of one resource, with its place under our own name.
fn told(persona: Persona, given: &Given, error: impl std::fmt::Display) -> String {
    match &given.origin {
        Some(origin) if !persona.is_calicoctl() => {
            let (kind, name) = (given.resource.kind().name(), given.resource.name());
            format!("{error} ({origin}: {kind} {name})")
        }
        _ => error.to_string(),
    }
}

fn placed(flags: &NamespaceFlags, given: &Given) -> Result<Resource, String> {
    let mut resource = given.resource.clone();
    let namespace = flags.of_resource(resource.kind(), resource.namespace())?;
    resource.set_meta_text("namespace", &namespace);
    Ok(resource)
}

fn kinds(given: &[Given]) -> Vec<Kind> {
    given.iter().map(|given| given.resource.kind()).collect()
}

fn finish(tally: &Tally, io: &mut Io) -> Result<(), Failure> {
    let (line, end) = tally.report();
    if let Some(line) = line {
        io.line(&line)?;
    }
    end
}

/// `validate`
///
/// # Errors
/// What is not valid.
pub fn validate(persona: Persona, place: &PlaceArgs, given: &[Given], io: &mut Io) -> Result<(), Failure> {
    let flags = NamespaceFlags::one(place.namespace.clone());
    let mut tally = Tally::new(Verb::Validate, kinds(given));
    for one in given {
        let done = placed(&flags, one)
            .and_then(|resource| verbs::validate(&resource).map_err(|error| error.to_string()))
            .map_err(|error| told(persona, one, error));
        tally.count(one.resource.kind(), done);
    }
    finish(&tally, io)
}

/// `create`, `apply`, `replace` and `delete`; `lenient` counts those that exist already, or not any more, as done.
///
/// # Errors
/// What could not be done.
pub async fn write(
    session: &Session,
    verb: Verb,
    lenient: bool,
    place: &PlaceArgs,
    given: &[Given],
    io: &mut Io,
) -> Result<(), Failure> {
    let flags = NamespaceFlags::one(place.namespace.clone());
    let client = &session.client;
    initialise(session).await?;
    let mut tally = Tally::new(verb, kinds(given));
    for one in given {
        let done = match placed(&flags, one) {
            Err(error) => Err(error),
            Ok(resource) => {
                let done = match verb {
                    Verb::Create => verbs::create(client, resource, lenient).await,
                    Verb::Apply => verbs::apply(client, resource).await,
                    Verb::Replace => verbs::replace(client, resource).await,
                    Verb::Delete => verbs::delete(client, &resource, lenient).await,
                    Verb::Validate => verbs::validate(&resource),
                };
                done.map_err(|error| explain(&error))
            }
        };
        tally.count(one.resource.kind(), done.map_err(|error| told(session.persona, one, error)));
    }
    finish(&tally, io)
}

/// Makes what every cluster has. Calico ignores a failure; only a datastore that does not answer ends it here, as the
/// write itself would only wait for it again.
async fn initialise(session: &Session) -> Result<(), Failure> {
    match session.client.ensure_initialized(Bootstrap::default()).await {
        Ok(()) => Ok(()),
        Err(error) => unless_unreachable(&error),
    }
}

/// How `get` was asked.
pub struct Get<'a> {
    /// `-o`
    pub format: &'a Format,
    /// `-n`, `-A`
    pub flags: &'a NamespaceFlags,
    /// `--export`
    pub export: bool,
}

/// `get`: what is found is printed, then what went wrong.
///
/// # Errors
/// What could not be read.
pub async fn get(session: &Session, target: &Target, ask: &Get<'_>, io: &mut Io) -> Result<(), Failure> {
    let client = &session.client;
    let mut found = Vec::new();
    let mut errors = Vec::new();
    match target {
        Target::All(kind) => match list(session, *kind, ask.flags).await {
            Ok(list) => found.push(list),
            Err(error) => errors.push(error),
        },
        Target::Given(given) => {
            for one in given {
                match named(session, one, ask.flags).await {
                    Ok(resource) => found.push(resource),
                    Err(error) => errors.push(told(session.persona, one, error)),
                }
            }
        }
    }
    let mut facts = Facts::default();
    if found.iter().any(|one| ask.format.needs_default_as(one.kind())) {
        facts.default_as_number = default_as_number(client).await;
    }
    if ask.export {
        found = found.into_iter().map(Found::exported).collect();
    }
    let text = ask.format.render(&found, ask.flags.shown(), &facts)?;
    io.print(&text)?;
    if errors.is_empty() { Ok(()) } else { Err(Failure::Message(errors.join("\n"))) }
}

async fn named(session: &Session, given: &Given, flags: &NamespaceFlags) -> Result<Found, String> {
    let wanted = placed(flags, given)?;
    let found = session.client.get(wanted.kind(), wanted.namespace(), wanted.name()).await;
    found.map(|resource| Found::One(presented(resource))).map_err(|error| explain(&error))
}

async fn list(session: &Session, kind: Kind, flags: &NamespaceFlags) -> Result<Found, String> {
    let namespace = flags.of_list(kind)?;
    let options = ListOptions { namespace, ..ListOptions::default() };
    let list = session.client.list(kind, options).await.map_err(|error| explain(&error))?;
    let items = list.items.into_iter().map(presented).collect();
    Ok(Found::List { kind, revision: list.revision, items })
}

/// In the field order and spelling of today's release, whoever stored it. A value of a wrong type stays as it is.
fn presented(mut resource: Resource) -> Resource {
    if let Err(error) = schema::normalise(&mut resource) {
        tracing::warn!(key = resource.key().path(), %error, "stored object is odd");
    }
    resource
}

async fn default_as_number(client: &Client) -> String {
    match client.get(Kind::BGPConfiguration, "", "default").await {
        Ok(configuration) => match configuration.spec().get("asNumber") {
            None | Some(Value::Null) => DEFAULT_AS_NUMBER.to_owned(),
            Some(number) => number.to_string(),
        },
        Err(ClientError::DoesNotExist { .. }) => DEFAULT_AS_NUMBER.to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}

/// Exactly one kind and one name, as `patch` and `label` want them, and the words after.
///
/// # Errors
/// Too few words, an unknown kind, an empty name.
fn one_named(words: &[String], least: usize) -> Result<(Kind, &str, &[String]), Failure> {
    if words.len() < least {
        let text = format!("requires at least {least} arg(s), only received {}", words.len());
        return Err(Failure::Message(text));
    }
    let (first, rest) = words.split_at(words.len().min(2));
    let (kind, names) = input::named(first).map_err(Failure::Message)?;
    let name = names.first().copied().ok_or_else(|| Failure::message("resource name may not be empty"))?;
    Ok((kind, name, rest))
}

/// `patch`
///
/// # Errors
/// A patch that is none, or that makes something invalid; a resource that is not there.
pub async fn patch(
    session: &Session,
    words: &[String],
    patch: &str,
    place: &PlaceArgs,
    io: &mut Io,
) -> Result<(), Failure> {
    let (kind, name, _) = one_named(words, 2)?;
    let hit = |error: &dyn std::fmt::Display| Failure::Message(format!("hit error: {error}"));
    let flags = NamespaceFlags::one(place.namespace.clone());
    let namespace = flags.of_resource(kind, "").map_err(|error| hit(&error))?;
    let client = &session.client;
    initialise(session).await?;
    let stored = client.get(kind, &namespace, name).await.map_err(|error| hit(&error))?;
    let change = merge::parse(patch).map_err(|error| hit(&error))?;
    let mut object = stored.object().clone();
    merge::apply(&mut object, &change);
    let patched = schema::decode_patched(Value::Object(object), &stored)
        .map_err(|error| Failure::Message(not_patched(&error, session.persona)))?;
    client
        .update(patched)
        .await
        .map_err(|error| hit(&format_args!("updating existing resource: {error}")))?;
    io.line(&format!("Successfully patched 1 '{}' resource", kind.name()))
}

fn not_patched(error: &DecodeError, persona: Persona) -> String {
    let text = input::undecoded(error, persona);
    if error.has_unknown_field() { text } else { format!("hit error: {text}") }
}

/// How `label` was asked.
#[derive(Debug, Clone, Copy)]
pub struct LabelFlags {
    /// `--remove`
    pub remove: bool,
    /// `--overwrite`
    pub overwrite: bool,
}

/// `label`
///
/// # Errors
/// A label that cannot be set or removed; a resource that is not there.
pub async fn label(
    session: &Session,
    words: &[String],
    asked: LabelFlags,
    place: &PlaceArgs,
    io: &mut Io,
) -> Result<(), Failure> {
    let (kind, name, labels) = one_named(words, 3)?;
    let typed = words.first().map(String::as_str).unwrap_or_default();
    let named = Named { kind: typed, name };
    let namespace =
        NamespaceFlags::one(place.namespace.clone()).of_resource(kind, "").map_err(Failure::Message)?;
    let client = &session.client;
    initialise(session).await?;
    let mut resource = client.get(kind, &namespace, name).await.map_err(|error| {
        Failure::Message(match error {
            ClientError::DoesNotExist { .. } => format!("{named} not found"),
            error => format!("failed to get {named}, error {error}"),
        })
    })?;
    let mut said = Vec::new();
    for text in labels {
        let change = Change::parse(text, asked.remove, asked.overwrite)?;
        said.push(change.apply(&mut resource, named)?);
    }
    if let Err(error) = client.update(resource).await {
        let mut text = format!("failed to update {named}, label not changed");
        if !session.persona.is_calicoctl() {
            let _ = write!(text, ": {error}");
        }
        return Err(Failure::Message(text));
    }
    said.iter().try_for_each(|line| io.line(line))
}
