//! Performing a request in a thread that may block.

use super::caller::Caller;
use super::names::{check_public, is_public};
use super::reply::Reply;
use super::service::Service;
use super::stream::Stream;
use super::write::Appended;
use crate::engine::base::error::Result;
use crate::net::proto::{
    Applied, Code, CreateKeyspace, Delivery, DropKeyspace, Existing, Failure, Job, Request,
    Response, Text,
};

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Performed {
    /// It has its answer.
    Answered,
    /// A write is in the log. The answer depends on its kind and mode.
    Appended(Appended),
    /// A stream can begin.
    Streaming(Box<Stream>),
}

impl Service {
    /// Performs a request that [`Caller::check`] has passed. May wait for the store, but neither for the
    /// sync line after a write nor for a job.
    pub(crate) fn perform(
        &self,
        request: &Request<'_>,
        caller: &Caller,
        reply: &mut Reply<'_>,
    ) -> Performed {
        match self.try_perform(request, caller, reply) {
            Ok(performed) => performed,
            Err(failure) => {
                reply.fail(failure);
                Performed::Answered
            }
        }
    }

    fn try_perform(
        &self,
        request: &Request<'_>,
        caller: &Caller,
        reply: &mut Reply<'_>,
    ) -> Result<Performed, Failure<'static>> {
        match request {
            Request::Put(_) | Request::Delete(_) | Request::Batch(_) => {
                let written = self.write(request, caller).map_err(|error| self.failed(error))?;
                return Ok(Performed::Appended(written));
            }
            Request::Get(get) => self.get(get, reply)?,
            Request::Range(range) => match range.delivery {
                Delivery::Page { .. } => self.page(range, reply)?,
                Delivery::Stream { .. } => {
                    return Ok(Performed::Streaming(Box::new(self.stream(range)?)));
                }
            },
            Request::Keyspaces => {
                let names = self.store.keyspaces();
                let public = |name: &String| is_public(name) && caller.realm.has(name);
                let names = names.into_iter().filter(public).map(Text::from).collect();
                reply.send(&Response::Names(names));
            }
            Request::CreateKeyspace(create) => {
                let made = self.create_keyspace(create).map_err(|error| self.failed(error))?;
                return Ok(Performed::Appended(made));
            }
            Request::DropKeyspace(DropKeyspace { name }) => {
                check_public(name)?;
                let lsn = self.store.append_drop(name).map_err(|error| self.failed(error))?;
                return Ok(Performed::Appended(Appended::now(lsn)));
            }
            Request::Stats => {
                let stats = self.store.stats();
                reply.send(&Response::Figures(super::stats::figures(self.marks(), &stats)));
            }
            Request::Watermarks => reply.send(&Response::Marks(self.marks())),
            Request::JobStatus(status) => self.send_job(status.job, reply)?,
            Request::JobWait(wait) => self.send_job(wait.job, reply)?,
            Request::JobCancel(cancel) => {
                if let super::JobRef::Operation(number) = self.find_job(cancel.job)? {
                    self.jobs.cancel(number);
                }
                self.send_job(cancel.job, reply)?;
            }
            _ => {
                let message = format!("{} cannot be performed by the pool", request.kind().name());
                return Err(Failure::new(Code::Internal, message));
            }
        }
        Ok(Performed::Answered)
    }

    fn send_job(&self, job: &str, reply: &mut Reply<'_>) -> Result<(), Failure<'static>> {
        let state = self.state(job)?;
        reply.send(&Response::Job(Job { job: job.into(), state }));
        Ok(())
    }

    fn create_keyspace(&self, create: &CreateKeyspace<'_>) -> Result<Appended> {
        check_public(create.name)?;
        if create.existing == Existing::Refuse {
            return Ok(Appended::now(self.store.append_keyspace(create.name)?));
        }
        let (keyspace, is_made) = self.store.find_or_append_keyspace(create.name)?;
        let applied = if is_made { Applied::Now } else { Applied::Before };
        Ok(Appended { lsn: keyspace.made_at(), applied })
    }
}
