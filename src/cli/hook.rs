//! `onetag hook`: what one delivery of a registry would trigger.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::report::json_line;
use super::settings::MessageArgs;
use super::{Exit, Refused};
use crate::model::Push;
use crate::webhook::{self, Delivery, Format, Rejection};

/// Tell what a registry's delivery would trigger
///
/// Reads one delivery as a registry sends it and prints each pushed tag in it as a line of JSON. A
/// delivery without a push prints nothing; -v tells why. Nobody is asked for a proof, and nothing is
/// contacted.
#[derive(Args, Debug)]
pub(super) struct HookArgs {
    /// Whose delivery it is
    #[arg(long, value_name = "FORMAT",
          value_parser = PossibleValuesParser::new(Format::ALL.map(Format::as_str)).try_map(|s| s.parse::<Format>()))]
    format: Format,

    /// A header of the delivery, since some senders tell half of it there (repeatable)
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// The body of the delivery; standard input without it, or as `-`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    messages: MessageArgs,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`, for example `X-GitHub-Event: package`")?;
    let name = name.trim().parse::<HeaderName>().map_err(|_| format!("`{}` cannot be a header's name", name.trim()))?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|_| format!("the value of `{name}` cannot be a header's"))?;
    Ok((name, value))
}

/// Prints what the delivery would trigger.
pub(super) fn run(args: &HookArgs) -> Result<Exit, Refused> {
    let console = args.messages.start();
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name, value.clone());
    }
    let body = read(args.file.as_deref(), args.format.longest_body_bytes())?;

    let delivery = webhook::read(args.format, &headers, &body).map_err(|rejection| Refused {
        hint: hint(&rejection, args.format, &headers, &body),
        ..Refused::usage(format!("the delivery cannot be read as one of `{}`: {rejection}", args.format))
    })?;
    tell_ignored(&delivery);
    console.data(&delivery.pushes.iter().map(line).collect::<String>());
    Ok(Exit::Done)
}

/// Reads the body, and one byte more than is allowed if there is one.
fn read(file: Option<&Path>, longest_bytes: usize) -> Result<Vec<u8>, Refused> {
    let file = file.filter(|file| *file != Path::new("-"));
    let source = file.map_or("standard input".to_owned(), |file| file.display().to_string());
    let read = || -> std::io::Result<Vec<u8>> {
        let reader: Box<dyn Read> = match file {
            Some(file) => Box::new(std::fs::File::open(file)?),
            None => Box::new(std::io::stdin().lock()),
        };
        let mut body = Vec::new();
        reader.take(longest_bytes as u64 + 1).read_to_end(&mut body)?;
        Ok(body)
    };
    read().map_err(|error| Refused::usage(format!("{source} cannot be read: {error}")))
}

/// One push as a line of JSON, with its keys in this order.
fn line(push: &Push) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        registry: Option<&'a str>,
        repository: &'a str,
        tag: &'a str,
        digest: Option<&'a str>,
        media_type: Option<&'a str>,
        event_id: Option<&'a str>,
    }
    let line = Line {
        registry: push.registry.as_deref(),
        repository: push.repository.as_str(),
        tag: push.tag.as_str(),
        digest: push.digest.as_ref().map(|digest| digest.as_str()),
        media_type: push.media_type.as_deref(),
        event_id: push.event_id.as_deref(),
    };
    json_line(&line)
}

fn tell_ignored(delivery: &Delivery) {
    let mut counts = BTreeMap::new();
    for ignored in &delivery.ignored {
        *counts.entry(ignored).or_insert(0_usize) += 1;
    }
    for (ignored, count) in counts {
        let events = if count == 1 { "event" } else { "events" };
        tracing::info!("Ignored {count} {events}: {ignored}");
    }
    if delivery.pushes.is_empty() && delivery.ignored.is_empty() {
        tracing::info!("The delivery has no events");
    }
}

/// What to try next.
fn hint(rejection: &Rejection, format: Format, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let other = webhook::detect(headers, body).filter(|other| !other.reads_like(format));
    match rejection {
        Rejection::TooLong { .. } | Rejection::TooDeep { .. } | Rejection::TooManyEvents { .. } => None,
        Rejection::Encoded { .. } => Some("decode the body first, and leave the header out".to_owned()),
        Rejection::NotJson { .. } if body.is_empty() => {
            Some("give the body of the delivery as FILE or on standard input".to_owned())
        }
        Rejection::NotJson { .. } if body.starts_with(b"payload=") => {
            Some("say that it is a form: `--header 'Content-Type: application/x-www-form-urlencoded'`".to_owned())
        }
        Rejection::NotJson { .. } | Rejection::NoPayload => {
            Some("give the body alone, byte for byte as it was sent".to_owned())
        }
        // `action` is all that tells ACR, and GitHub and Gitea have one, too.
        Rejection::NoHeader { name } if other.is_none_or(|other| other == Format::Acr) => {
            Some(format!("give the headers of the delivery, too, for example `--header '{name}: package'`"))
        }
        Rejection::NoHeader { .. } | Rejection::Unlike { .. } => match other {
            Some(other) => Some(format!("it looks like a delivery of `{other}`: try `--format {other}`")),
            None if headers.is_empty() => Some("give its headers, too, with `--header 'Name: value'`".to_owned()),
            None => None,
        },
    }
}
