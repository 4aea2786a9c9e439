//! Adds the slices of a soak to one summary.

use std::collections::BTreeMap;

use super::summary::{FaultRow, KillSummary, RotRow, ServerSummary, SimSummary, SiteRow};

impl SimSummary {
    /// Adds another slice.
    pub(super) fn absorb(&mut self, other: SimSummary) {
        self.seconds += other.seconds;
        self.worker_seconds += other.worker_seconds;
        self.small_states += other.small_states;
        self.small_seconds += other.small_seconds;
        self.runs += other.runs;
        self.crash_points += other.crash_points;
        self.states += other.states;
        let depths = self.states_by_depth.len().max(other.states_by_depth.len());
        self.states_by_depth.resize(depths, 0);
        for (mine, theirs) in self.states_by_depth.iter_mut().zip(&other.states_by_depth) {
            *mine += theirs;
        }
        add(&mut self.clauses, other.clauses);
        other.faults.into_iter().for_each(|row| self.absorb_fault(row));
        self.absorb_sites(other.sites);
        self.windows_exhausted += other.windows_exhausted;
        self.widest_exhausted = self.widest_exhausted.max(other.widest_exhausted);
        self.windows_sampled += other.windows_sampled;
        self.bits_flipped += other.bits_flipped;
        self.bits_unread += other.bits_unread;
        self.bits = self.bits.max(other.bits);
        self.traces_compared += other.traces_compared;
        other.rot.into_iter().for_each(|row| self.absorb_rot(row));
        // A pair that one slice has not met may be met by the other.
        if self.shapes == 0 {
            self.shapes_unmet = other.shapes_unmet;
        } else if other.shapes > 0 {
            self.shapes_unmet.retain(|pair| other.shapes_unmet.contains(pair));
        }
        self.shapes = self.shapes.max(other.shapes);
        self.shapes_met = self.shapes - self.shapes_unmet.len() as u64;
        if self.picture.is_none() {
            self.picture = other.picture;
        }
    }

    fn absorb_rot(&mut self, other: RotRow) {
        match self.rot.iter_mut().find(|row| row.what == other.what) {
            Some(row) => {
                row.right += other.right;
                row.told += other.told;
                row.refused += other.refused;
                row.unnoticed += other.unnoticed;
            }
            None => self.rot.push(other),
        }
    }

    fn absorb_fault(&mut self, other: FaultRow) {
        let same = |row: &&mut FaultRow| (row.fault, &row.name) == (other.fault, &other.name);
        match self.faults.iter_mut().find(same) {
            Some(row) => {
                row.states += other.states;
                row.sync += other.sync;
                row.unsynced += other.unsynced;
            }
            None => self.faults.push(other),
        }
    }

    fn absorb_sites(&mut self, others: Vec<SiteRow>) {
        type Key = (String, String, String, String);
        let rows = std::mem::take(&mut self.sites).into_iter().chain(others);
        let mut sites: BTreeMap<Key, (u64, u64)> = BTreeMap::new();
        for row in rows {
            let counts = sites.entry((row.fault, row.operation, row.file, row.phase)).or_default();
            counts.0 += row.once;
            counts.1 += row.forever;
        }
        let row = |((fault, operation, file, phase), (once, forever))| SiteRow {
            fault,
            operation,
            file,
            phase,
            once,
            forever,
        };
        self.sites = sites.into_iter().map(row).collect();
    }
}

impl KillSummary {
    /// Adds another slice.
    pub(super) fn absorb(&mut self, other: KillSummary) {
        self.seconds += other.seconds;
        self.directory = other.directory;
        self.cycles += other.cycles;
        add(&mut self.places, other.places);
        add(&mut self.injected, other.injected);
        self.sync_commits += other.sync_commits;
        self.async_commits += other.async_commits;
        self.recoveries_killed += other.recoveries_killed;
        self.deepest = self.deepest.max(other.deepest);
        add_notes(&mut self.notes, other.notes);
    }
}

impl ServerSummary {
    /// Adds another slice, or another store.
    pub(super) fn absorb(&mut self, other: ServerSummary) {
        self.seconds += other.seconds;
        self.directory = other.directory;
        self.kills += other.kills;
        self.unmet += other.unmet;
        add(&mut self.writes, other.writes);
        self.unanswered += other.unanswered;
        self.unanswered_found += other.unanswered_found;
        add(&mut self.jobs, other.jobs);
        self.retries += other.retries;
        self.rows += other.rows;
        self.checks += other.checks;
        add_notes(&mut self.notes, other.notes);
    }
}

fn add_notes(notes: &mut Vec<String>, others: Vec<String>) {
    for note in others {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, others: BTreeMap<K, u64>) {
    for (key, count) in others {
        *counts.entry(key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_empty_summary_absorbs_a_slice_and_equals_it() {
        let slice = sample::good().sim.expect("a simulated tier");
        let mut sum = SimSummary::default();
        sum.absorb(slice.clone());
        let rows = |summary: &SimSummary| {
            let mut sites = summary.sites.clone();
            sites.sort();
            (sites, summary.faults.clone(), summary.clauses.clone(), summary.states)
        };
        assert_eq!(rows(&sum), rows(&slice));
        assert!(sum.picture.is_some());
    }

    #[test]
    fn two_slices_are_added() {
        let sample = sample::good();
        let mut server = sample.server.unwrap();
        server.absorb(server.clone());
        assert_eq!((server.kills, server.jobs["durable"]), (188, 18_022));
        let (mut sim, mut kill) = (sample.sim.unwrap(), sample.kill.unwrap());
        let (one_sim, one_kill) = (sim.clone(), kill.clone());
        sim.absorb(one_sim.clone());
        kill.absorb(one_kill.clone());
        assert_eq!(sim.states, 2 * one_sim.states);
        assert_eq!(sim.states_by_depth[1], 2 * one_sim.states_by_depth[1]);
        assert_eq!(sim.widest_exhausted, one_sim.widest_exhausted);
        assert_eq!(sim.faults.len(), one_sim.faults.len());
        assert_eq!(sim.faults[0].sync, 2 * one_sim.faults[0].sync);
        assert_eq!(sim.sites.len(), one_sim.sites.len());
        let (sum, one) = (kill.places.values().sum::<u64>(), one_kill.places.values().sum::<u64>());
        assert_eq!((kill.cycles, sum), (2 * one_kill.cycles, 2 * one));
        assert_eq!((kill.deepest, kill.notes), (one_kill.deepest, one_kill.notes));
    }
}
