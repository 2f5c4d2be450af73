//! What is done to a run, as a text that another process can read.

use std::fmt;
use std::str::FromStr;

use test_support::proxy::{Effect, Moment as Met};

use super::points::{Moment, Place, Point};

/// One crash.
#[derive(Clone, Debug)]
pub(crate) struct Blow {
    pub(crate) place: Place,
    pub(crate) moment: Moment,
}

/// A fault of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Throttled,
    ServerError,
    AnswerLost,
    AccessDenied,
    Expired,
    Reset,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [Self::Throttled, Self::ServerError, Self::AnswerLost, Self::AccessDenied, Self::Expired, Self::Reset];
    const NAMES: [&str; 6] = ["throttled", "server-error", "answer-lost", "access-denied", "expired-credentials", "connection-reset"];

    pub(crate) fn effect(self, service: &str) -> (Met, Effect) {
        let error = |status: u16, code: &str, message: &str| Effect::Error { status, code: code.to_owned(), message: message.to_owned() };
        match self {
            Self::Throttled => {
                (Met::BeforeSending, error(400, if service == "sqs" { "RequestThrottled" } else { "ThrottlingException" }, "Rate exceeded"))
            }
            Self::ServerError => (Met::BeforeSending, error(500, "InternalFailure", "it is us")),
            Self::AnswerLost => (Met::AfterEffect, Effect::Timeout),
            Self::AccessDenied => (Met::BeforeSending, error(400, "AccessDeniedException", "not you")),
            Self::Expired => (Met::BeforeSending, error(403, "ExpiredTokenException", "The security token included in the request is expired")),
            Self::Reset => (Met::BeforeSending, Effect::DropConnection),
        }
    }

    /// Whether it lasts until a person or AWS mends it, so that the operator must say what it waits for.
    pub(crate) fn must_be_told(self) -> bool {
        matches!(self, Self::AccessDenied | Self::Expired | Self::Reset)
    }
}

/// Something that overtakes the operator, or that it sees too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Race {
    /// All that the API server tells of changes comes late.
    LateEvents,
    /// What it tells for a while is lost with the connection; it comes when the connection is made anew.
    LostEvents,
    /// The operator is killed, and its successor's lists are as old as the scenario.
    StaleLists,
    /// Every declaration is changed and changed back.
    EditAndBack,
    /// Somebody changes queues and keys in AWS.
    OtherActor,
    /// The operator's clock jumps an hour forward.
    ClockForward,
    /// It jumps an hour back, and a while later forward again.
    ClockBack,
}

impl Race {
    pub(crate) const ALL: [Self; 7] =
        [Self::LateEvents, Self::LostEvents, Self::StaleLists, Self::EditAndBack, Self::OtherActor, Self::ClockForward, Self::ClockBack];
    const NAMES: [&str; 7] = ["late-events", "lost-events", "stale-lists", "edit-and-back", "other-actor", "clock-forward", "clock-back"];
}

/// What is done to a run.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// Nothing.
    Free,
    /// The operator is killed, once or more.
    Crashes(Vec<Blow>),
    /// AWS fails at this call, or from it on for a while.
    Fault { at: Point, fault: Fault, lasting: bool },
    /// Something happens while this call is held.
    Race { at: Point, race: Race },
}

impl Plan {
    /// How long the operator waits for an answer: longer than a busy machine takes, unless an answer is to be lost.
    pub(crate) fn time_out(&self) -> &'static str {
        if matches!(self, Self::Fault { fault: Fault::AnswerLost, .. }) { "2s" } else { "15s" }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => formatter.write_str("free"),
            Self::Crashes(blows) => {
                let texts: Vec<String> = blows.iter().map(ToString::to_string).collect();
                write!(formatter, "crash | {}", texts.join(" | "))
            }
            Self::Fault { at, fault, lasting } => {
                write!(formatter, "fault | {at} | {} | {}", Fault::NAMES[*fault as usize], if *lasting { "lasting" } else { "once" })
            }
            Self::Race { at, race } => write!(formatter, "race | {at} | {}", Race::NAMES[*race as usize]),
        }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::At(point) => write!(formatter, "{point} | {}", self.moment),
            Place::Nth(number) => write!(formatter, "call {number} | {}", self.moment),
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(" | ").collect();
        match parts.as_slice() {
            ["free"] => Ok(Self::Free),
            ["crash", blows @ ..] => blows.chunks(2).map(blow).collect::<Result<_, _>>().map(Self::Crashes),
            ["fault", at, fault, times] => {
                let number = Fault::NAMES.iter().position(|name| name == fault).ok_or_else(|| format!("no fault: {fault}"))?;
                Ok(Self::Fault { at: at.parse()?, fault: Fault::ALL[number], lasting: *times == "lasting" })
            }
            ["race", at, race] => {
                let number = Race::NAMES.iter().position(|name| name == race).ok_or_else(|| format!("no race: {race}"))?;
                Ok(Self::Race { at: at.parse()?, race: Race::ALL[number] })
            }
            _ => Err(format!("no plan: {text}")),
        }
    }
}

fn blow(parts: &[&str]) -> Result<Blow, String> {
    let [place, moment] = parts else { return Err(format!("no crash: {parts:?}")) };
    let place = match place.strip_prefix("call ").and_then(|number| number.parse().ok()) {
        Some(number) => Place::Nth(number),
        None => Place::At(place.parse()?),
    };
    Ok(Blow { place, moment: moment.parse()? })
}
