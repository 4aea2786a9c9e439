//! Job states: of a running server, and as a later process reports them.

use std::sync::Arc;

use super::peer::{Peer, config, put, serve};
use crate::engine::base::lsn::LifeMark;
use crate::engine::disk::{Keep, SimDisk};
use crate::engine::store::Token;
use crate::net::proto::{
    Answer, Checkpoint, Code, JobCancel, JobId, JobState, JobStatus, JobWait, JobWatch, Mode, Part,
    Request, Verify,
};
use crate::net::server::Config;
use crate::{CommitMode, Incarnation, Lsn, Options, StoreId};

fn status(job: &str) -> Request<'_> {
    Request::JobStatus(JobStatus { job })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_loss_every_job_is_judged_from_its_id_alone() {
    let disk = SimDisk::new();
    let slow = || Options::new().flush_interval(std::time::Duration::from_secs(3600));
    let store = slow().open_on(Arc::new(disk.clone())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let kept = peer.ask(2, &put("kept", "v", Mode::Job)).await.job().0;
    let checkpoint = Request::Checkpoint(Checkpoint { answer: Answer::Job });
    let operation = peer.ask(3, &checkpoint).await.job().0;
    let wait = Request::JobWait(JobWait { job: &operation, timeout_ms: 60_000 });
    assert!(matches!(peer.ask(4, &wait).await.job().1, JobState::Done { .. }));
    let lost = peer.ask(5, &put("lost", "v", Mode::Job)).await.job().0;
    assert_eq!(peer.ask(6, &status(&lost)).await.job().1, JobState::Appended);
    let disk = disk.crash(Keep::Nothing);
    drop(server);

    let store = slow().open_on(Arc::new(disk)).unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let expected =
        [(&kept, JobState::Durable), (&lost, JobState::Lost), (&operation, JobState::Interrupted)];
    for (id, (job, state)) in (10..).zip(&expected) {
        assert_eq!(peer.ask(id, &status(job)).await.job().1, *state);
        let wait = Request::JobWait(JobWait { job, timeout_ms: 60_000 });
        assert_eq!(peer.ask(id, &wait).await.job().1, *state, "a long poll does not wait for it");
    }
    let jobs = expected.iter().map(|(job, _)| job.as_str()).collect();
    peer.send(20, &Request::JobWatch(JobWatch { jobs, credit: 9 })).await;
    let mut told = Vec::new();
    loop {
        let event = peer.answer().await;
        told.push(event.job());
        if event.part == Part::Last {
            break;
        }
    }
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let mut all: Vec<_> =
        expected.iter().map(|(job, state)| ((*job).clone(), state.clone())).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, all);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_job_ids_are_refused() {
    let store = super::peer::store();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let job = peer.ask(2, &put("k", "v", Mode::Job)).await.job().0;
    let token: Token = job.parse().unwrap();
    let future = Token { lsn: Lsn::new(token.lsn.get() << 16), ..token }.to_string();
    let other = Token { store: StoreId([0xab; 16]), ..token }.to_string();
    let shorter = &job[..job.len() - 1];
    for (id, wrong) in (10..).zip(["", "x", &future, &other, shorter]) {
        assert_eq!(peer.ask(id, &status(wrong)).await.code(), Code::InvalidToken, "{wrong:?}");
    }
    // Of a life that this copy of the store never had; the last id has the form of version 1.
    let later = Token { incarnation: Incarnation::new(0xff), ..token };
    let copy = Token { mark: LifeMark(token.mark.0 ^ 1), ..token };
    let without = Token { mark: LifeMark::NONE, ..token };
    for unknown in [later, copy, without] {
        let number = unknown.incarnation.get().to_string();
        for job in [unknown.to_string(), JobId::of_operation(unknown, 1).to_string()] {
            let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 60_000 });
            for question in [status(&job), wait, Request::JobCancel(JobCancel { job: &job })] {
                let answer = peer.ask(16, &question).await;
                assert_eq!(answer.code(), Code::UnknownLife, "{question:?}");
                assert_eq!(answer.failure().detail("token"), Some(job.as_str()));
                assert_eq!(answer.failure().detail("incarnation"), Some(number.as_str()));
            }
        }
    }
    let operation = JobId::of_operation(token, 5).to_string();
    assert_eq!(peer.ask(30, &status(&operation)).await.code(), Code::NoSuchJob);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_operation_can_be_cancelled_and_its_watchers_hear_of_it() {
    let store = super::peer::store();
    let (server, address) = serve(store.clone(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    let mut jobs = Vec::new();
    for id in 2..40 {
        let verify = Request::Verify(Verify { answer: Answer::Job });
        jobs.push(peer.ask(id, &verify).await.job().0);
    }
    let last = jobs.last().unwrap();
    let cancel = Request::JobCancel(JobCancel { job: last });
    let state = peer.ask(50, &cancel).await.job().1;
    assert!(state.is_final() || matches!(state, JobState::Running { .. }), "{state:?}");
    for (id, job) in (60..).zip(&jobs) {
        let wait = Request::JobWait(JobWait { job, timeout_ms: 60_000 });
        let state = peer.ask(id, &wait).await.job().1;
        assert!(matches!(state, JobState::Done { .. } | JobState::Cancelled), "{state:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_many_jobs_of_former_lives_takes_one_place_in_the_pool() {
    let disk = SimDisk::new();
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let jobs: Vec<String> = (0..1024_u32)
        .map(|row| rows.put_with(row.to_be_bytes(), "", CommitMode::Async).unwrap().token())
        .collect();
    drop(rows);
    store.close().unwrap();
    let store = Options::new().open_on(Arc::new(disk)).unwrap();
    let config = Config { pool_queue: 8, ..config() };
    let (server, address) = serve(store, &config).await;
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = Peer::greeted(address).await;
        let watched = jobs.iter().map(String::as_str).collect();
        peer.send(2, &Request::JobWatch(JobWatch { jobs: watched, credit: 2000 })).await;
        peers.push(peer);
    }
    let mut other = Peer::greeted(address).await;
    for id in 2..20 {
        let answer = other.ask(id, &Request::JobStatus(JobStatus { job: &jobs[0] })).await;
        assert_eq!(answer.job().1, JobState::Durable);
    }
    for mut peer in peers {
        for told in 1..=jobs.len() {
            let answer = peer.answer().await;
            assert_eq!(answer.job().1, JobState::Durable);
            assert_eq!(answer.part == Part::Last, told == jobs.len());
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_a_job_of_an_unknown_life_ends_with_the_error_of_a_status_request() {
    let disk = SimDisk::new();
    let store = Options::new().open_on(Arc::new(disk.clone())).unwrap();
    let rows = store.keyspace("rows").unwrap();
    let job = rows.put("k", "v").unwrap().token();
    drop(rows);
    store.close().unwrap();
    let store = Options::new().open_on(Arc::new(disk)).unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let token: Token = job.parse().unwrap();
    let unknown = Token { incarnation: Incarnation::new(0xff), ..token };
    let code = Code::UnknownLife;
    for unknown in [unknown.to_string(), JobId::of_operation(unknown, 1).to_string()] {
        assert_eq!(peer.ask(2, &status(&unknown)).await.code(), code);
        let jobs = vec![unknown.as_str(), &job];
        let event = peer.ask(3, &Request::JobWatch(JobWatch { jobs, credit: 9 })).await;
        assert_eq!((event.part, event.job()), (Part::More, (job.clone(), JobState::Durable)));
        let last = peer.answer().await;
        assert_eq!((last.id, last.part, last.code()), (3, Part::Last, code), "{unknown}");
        assert_eq!(last.failure().job(), Some(unknown.as_str()));
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_asks_for_the_flush_that_it_waits_for() {
    let slow = Options::new().flush_interval(std::time::Duration::from_secs(3600));
    let store = slow.open_on(Arc::new(SimDisk::new())).unwrap();
    store.keyspace("rows").unwrap();
    let (server, address) = serve(store, &config()).await;
    let mut peer = Peer::greeted(address).await;
    let job = peer.ask(2, &put("k", "v", Mode::Job)).await.job().0;
    assert_eq!(peer.ask(3, &status(&job)).await.job().1, JobState::Appended);
    let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 600_000 });
    assert_eq!(peer.ask(4, &wait).await.job().1, JobState::Durable);
    server.stop().await.unwrap();
}
