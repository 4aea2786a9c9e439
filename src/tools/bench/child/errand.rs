//! What the benchmark asks of a child, and what the child answers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::tools::bench::engine::Sizes;
use crate::tools::bench::measure::{Sample, new_histogram};
use crate::tools::bench::record::{Figure, Moment};
use crate::tools::bench::stock::Contents;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::tools::bench) struct Errand {
    pub(in crate::tools::bench) engine: String,
    pub(in crate::tools::bench) mode: String,
    pub(in crate::tools::bench) dir: PathBuf,
    pub(in crate::tools::bench) keys: u64,
    pub(in crate::tools::bench) value_bytes: usize,
    pub(in crate::tools::bench) cache_bytes: u64,
    pub(in crate::tools::bench) write_buffer_bytes: u64,
    pub(in crate::tools::bench) seed: u64,
    pub(in crate::tools::bench) work: Work,
}

/// The work on a store.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::tools::bench) enum Work {
    /// Puts the first rows in turn, one to a commit, for a minute at most, and waits to be killed.
    Put {
        /// How many.
        commits: u64,
    },
    /// Overwrites rows that are drawn at random, one to a commit, and closes the store.
    Overwrite {
        /// For how long, at most.
        time: Duration,
        /// How many rows are enough.
        enough: u64,
    },
    /// Gets rows that are drawn at random.
    Get {
        /// For how long.
        time: Duration,
    },
}

impl Errand {
    pub(super) fn sizes(&self) -> Sizes {
        let contents = Contents { keys: self.keys, value_bytes: self.value_bytes };
        Sizes {
            cache_bytes: self.cache_bytes,
            write_buffer_bytes: self.write_buffer_bytes,
            expected_bytes: contents.bytes(),
            value_bytes: self.value_bytes,
        }
    }
}

/// The child's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) ops_per_s: f64,
    pub(super) rows_per_op: f64,
    pub(super) rows_in_all: u64,
    pub(super) cpu_us_per_op: Option<f64>,
    pub(super) device_bytes_per_user_byte: Option<f64>,
    pub(super) dirtied_bytes_per_user_byte: Option<f64>,
    /// Nanoseconds, and how many operations took as long.
    pub(super) latency_ns: Vec<(u64, u64)>,
    pub(super) course: Vec<Moment>,
    pub(super) figures: Vec<Figure>,
    pub(super) memory: Option<Memory>,
}

impl Report {
    pub(super) fn of(sample: &Sample, memory: Option<Memory>) -> Report {
        let recorded = sample.latency_ns.iter_recorded();
        Report {
            ops_per_s: sample.ops_per_s,
            rows_per_op: sample.rows_per_op,
            rows_in_all: sample.rows_in_all,
            cpu_us_per_op: sample.cpu_us_per_op,
            device_bytes_per_user_byte: sample.device_bytes_per_user_byte,
            dirtied_bytes_per_user_byte: sample.dirtied_bytes_per_user_byte,
            latency_ns: recorded
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
            course: sample.course.clone(),
            figures: sample.figures.clone(),
            memory,
        }
    }

    pub(super) fn into_sample(self) -> Sample {
        let mut latency_ns = new_histogram();
        for (ns, count) in self.latency_ns {
            latency_ns.saturating_record_n(ns, count);
        }
        let mut sample = Sample::of(latency_ns);
        sample.ops_per_s = self.ops_per_s;
        sample.rows_per_op = self.rows_per_op;
        sample.rows_in_all = self.rows_in_all;
        sample.cpu_us_per_op = self.cpu_us_per_op;
        sample.device_bytes_per_user_byte = self.device_bytes_per_user_byte;
        sample.dirtied_bytes_per_user_byte = self.dirtied_bytes_per_user_byte;
        sample.course = self.course;
        sample.figures = self.figures;
        if let Some(memory) = self.memory {
            memory.tell(&mut sample);
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_brings_the_sample_back() {
        let mut sample = Sample::once(3, 3, Duration::from_millis(6));
        sample.latency_ns.record(7_000_000).unwrap();
        sample.add_figure("x", 1.5, "ms");
        let text = serde_json::to_string(&Report::of(&sample, None)).unwrap();
        let back = serde_json::from_str::<Report>(&text).unwrap().into_sample();
        assert_eq!(back.latency_ns, sample.latency_ns);
        assert_eq!((back.ops_per_s, back.rows_in_all), (sample.ops_per_s, 3));
        assert_eq!(back.figures, sample.figures);
    }
}
