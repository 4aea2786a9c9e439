//! Requests that are under way, and the ways in which they end early.

use tokio::time::Instant;

use super::marks::MarksWatch;
use super::pooled::Pooled;
use super::streams::Streaming;
use super::watch::Watch;
use super::{Phase, Session};
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{Applied, Code, Failure, Job, Kind, Response};
use crate::net::service::{JobNumber, JobRef};

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) kind: Kind,
    /// When it ends by itself.
    pub(super) until: Option<(Instant, AtTime)>,
    pub(super) what: What,
}

/// What happens when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtTime {
    /// The request's deadline.
    Fail,
    /// A long poll is answered with the state of that moment.
    Tell,
    /// A stream has kept its snapshot for too long.
    TooOld,
    /// The watermarks may be told again.
    Push,
}

#[derive(Debug)]
pub(super) enum What {
    Pooled(Pooled),
    /// A read that waits for writes before it.
    Held {
        ticket: u64,
    },
    /// Something of the log that is to be durable: a write, or all there was when a flush was asked
    /// for.
    Durable {
        lsn: Lsn,
        applied: Applied,
    },
    Wait {
        job: JobRef,
    },
    Operation {
        number: JobNumber,
    },
    Watch(Box<Watch>),
    Marks(Box<MarksWatch>),
    Stream(Box<Streaming>),
}

impl What {
    /// Whether it holds something for as long as the client likes.
    fn is_subscription(&self) -> bool {
        matches!(self, What::Watch(_) | What::Marks(_) | What::Stream(_))
    }

    /// Whether it is a client's patience, and no work that is to be finished.
    fn is_wait(&self) -> bool {
        self.is_subscription() || matches!(self, What::Wait { .. } | What::Operation { .. })
    }
}

impl Session {
    /// Enters a request into the table.
    pub(super) fn launch(&mut self, id: u64, flight: Flight) {
        if let Some((at, _)) = flight.until {
            self.deadlines.insert((at, id));
        }
        self.subscriptions += usize::from(flight.what.is_subscription());
        let before = self.flights.insert(id, flight);
        assert!(before.is_none(), "ids in flight are checked when a request comes");
        self.tally.launched(id);
    }

    /// Takes a request out of the table (SESSION-1). Its last answer is the caller's.
    pub(super) fn land(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        if let Some((at, _)) = flight.until {
            self.deadlines.remove(&(at, id));
        }
        self.subscriptions -= usize::from(flight.what.is_subscription());
        match &flight.what {
            What::Durable { lsn, .. } | What::Wait { job: JobRef::Write(lsn) } => {
                self.line.forget(*lsn, id);
            }
            What::Watch(watch) => watch.forget(&mut self.line, id),
            _ => {}
        }
        self.tally.landed(id);
        Some(flight)
    }

    /// Gives a flight another time to end at, or none.
    pub(super) fn set_until(&mut self, id: u64, until: Option<(Instant, AtTime)>) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if let Some((at, _)) = std::mem::replace(&mut flight.until, until) {
            self.deadlines.remove(&(at, id));
        }
        if let Some((at, _)) = until {
            self.deadlines.insert((at, id));
        }
    }

    /// Does what is due.
    pub(super) fn pass_deadlines(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            let flight = self.flights.get_mut(&id).expect("a deadline belongs to a flight");
            let (_, what) = flight.until.take().expect("a deadline has its reason");
            match what {
                AtTime::Fail => {
                    self.give_up(id, Code::DeadlineExceeded, "the deadline has passed");
                }
                AtTime::TooOld => {
                    let message = "the stream's snapshot was kept for as long as the server allows";
                    self.give_up(id, Code::DeadlineExceeded, message);
                }
                AtTime::Tell => self.tell_wait(id),
                AtTime::Push => self.push_marks(id, now),
            }
        }
    }

    /// Ends a request before it is done, if it is still possible to say what became of it.
    pub(super) fn give_up(&mut self, id: u64, code: Code, message: &'static str) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        let mut failure = Failure::new(code, message);
        match &mut flight.what {
            // A thread has it: its answer is the truth, and comes soon. It does not wait for the sync
            // line any more.
            What::Pooled(pooled) if !pooled.give_up(flight.kind) => {
                pooled.given_up.get_or_insert((code, message));
                return;
            }
            What::Durable { .. } if flight.kind == Kind::Flush => {}
            What::Durable { lsn, .. } => {
                failure = failure.with("job", self.shared.service.job_of_write(*lsn));
            }
            What::Operation { number } => {
                failure = failure.with("job", self.shared.service.job_of_operation(*number));
            }
            _ => {}
        }
        self.land(id);
        self.refuse(id, failure);
    }

    /// Ends everything that is only a client's patience.
    pub(super) fn give_up_waits(&mut self, code: Code, message: &'static str) {
        let waits = self.flights.iter().filter(|(_, flight)| flight.what.is_wait());
        let mut ids: Vec<u64> = waits.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.give_up(id, code, message);
        }
    }

    /// Forgets everything: nobody is there to be answered.
    pub(super) fn abandon_flights(&mut self) {
        let ids: Vec<u64> = self.flights.keys().copied().collect();
        for id in ids {
            if let Some(Flight { kind, what: What::Pooled(pooled), .. }) = self.land(id) {
                pooled.give_up(kind);
            }
        }
        self.backlog.clear();
        self.writes.clear();
        self.put_off = super::PutOff::default();
        self.backlog_bytes = 0;
    }

    /// Answers a long poll with the state of this moment.
    pub(super) fn tell_wait(&mut self, id: u64) {
        let Some(Flight { what: What::Wait { job }, .. }) = self.land(id) else {
            unreachable!("only waits are told");
        };
        self.answer_job(id, job);
    }

    /// Answers with a job's present state.
    pub(super) fn answer_job(&mut self, id: u64, job: JobRef) {
        let service = &self.shared.service;
        let name = service.name_of(job);
        match service.state_now(job) {
            Ok(state) => self.reply(id).send(&Response::Job(Job { job: name.into(), state })),
            Err(failure) => self.refuse(id, failure),
        }
    }

    /// Answers with an error.
    pub(super) fn refuse(&mut self, id: u64, failure: impl Into<Failure<'static>>) {
        let failure = failure.into();
        self.tally.failed(failure.code);
        if self.phase != Phase::Ending {
            self.reply(id).fail(failure);
        }
    }
}
