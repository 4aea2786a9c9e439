//! The way through all layers: hello, writes in three modes, reads, the state of a job.

use super::peer::{Peer, config, get, put, serve, store};
use crate::net::proto::{
    JobState, JobStatus, JobWait, JobWatch, Mode, Part, Request, Response, Written,
};

#[tokio::test]
async fn hello_writes_reads_and_job_states_work_end_to_end() {
    let (server, address) = serve(store(), &config()).await;
    let mut peer = Peer::greeted(address).await;
    assert_eq!(peer.ask(2, &get("k")).await.value(), None);
    for (id, mode) in [(3, Mode::Sync), (4, Mode::Async)] {
        let answer = peer.ask(id, &put("k", "v", mode)).await;
        let Response::Written(Written { durable, receipt, .. }) = answer.response() else {
            panic!("{:?}", answer.response());
        };
        assert_eq!(durable, mode == Mode::Sync);
        assert!(receipt.lsn > 0);
        assert_eq!(peer.ask(5, &get("k")).await.value().as_deref(), Some(&b"v"[..]));
    }
    let (job, state) = peer.ask(6, &put("k", "w", Mode::Job)).await.job();
    assert_eq!(state, JobState::Appended);
    let (_, state) = peer.ask(7, &Request::JobStatus(JobStatus { job: &job })).await.job();
    assert!(matches!(state, JobState::Appended | JobState::Durable));
    let wait = Request::JobWait(JobWait { job: &job, timeout_ms: 60_000 });
    assert_eq!(peer.ask(8, &wait).await.job(), (job.clone(), JobState::Durable));
    let watch = Request::JobWatch(JobWatch { jobs: vec![&job], credit: 1 });
    let event = peer.ask(9, &watch).await;
    assert_eq!((event.part, event.job()), (Part::Last, (job, JobState::Durable)));
    assert_eq!(peer.ask(10, &Request::Ping).await.response(), Response::Pong);
    server.stop().await.unwrap();
    let goodbye = peer.answer().await;
    assert!(matches!(goodbye.response(), Response::Goodbye(_)));
    assert!(peer.next().await.is_none());
}
