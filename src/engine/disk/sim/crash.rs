//! Which unsynced changes a crash keeps.

use std::sync::Arc;

use super::names::FileId;
use super::pages::{PAGE_BYTES, Page, Pages};
use crate::engine::base::random::SplitMix64;

/// Which changes a crash keeps that were not yet durable.
///
/// A power loss decides each [`Choice`] independently. It always keeps durable bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The process is killed and the operating system lives on. Everything is seen as before, and unsynced
    /// changes stay unsynced: the next crash may take them.
    Everything,
    /// A power loss that takes every unsynced change.
    Nothing,
    /// A power loss that decides at random, from a seed. How much is kept is drawn for the names and for
    /// each file, from nothing to all. A kept sector may show any version since its last sync, a kept
    /// length may be any between the old one and the new one, and space that was never written may show
    /// zeros, noise, or the bytes of a removed file.
    Seeded(u64),
    /// A power loss that decides by a list: for each of [`SimDisk::choices`](super::SimDisk::choices), in
    /// order, the newest version or the durable one. Choices beyond the list are not kept.
    Mask(Vec<bool>),
    /// As [`Keep::Mask`], with a version for each choice: 0 for the durable one, 1 for the oldest
    /// since, and so on up to [`Choice::versions`]; a higher number means the newest.
    Versions(Vec<u8>),
}

impl Keep {
    /// A mask of 128 choices: the i-th is the i-th lowest bit of `bits`.
    pub fn bits(bits: u128) -> Keep {
        Keep::Mask((0..128).map(|i| bits >> i & 1 == 1).collect())
    }
}

/// A choice of a power loss, independent of the others except for one rule: of the changes to a name, a
/// later one survives only with the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// Whether a name was created, renamed or removed.
    Name {
        /// The change, with its names.
        change: String,
    },
    /// Whether a file has its new length.
    Length {
        /// A name of the file.
        file: String,
    },
    /// Whether space of a file that was never synced shows stale bytes instead of zeros.
    Stale {
        /// A name of the file.
        file: String,
    },
    /// Which version 512 bytes of a file show.
    Sector {
        /// A name of the file.
        file: String,
        /// The offset of the bytes, divided by 512.
        sector: u64,
        /// How many versions there are besides the durable one.
        versions: usize,
    },
}

impl Choice {
    /// How many outcomes there are besides the durable one.
    pub fn versions(&self) -> usize {
        match self {
            Choice::Sector { versions, .. } => *versions,
            _ => 1,
        }
    }
}

/// Makes the choices.
pub(super) enum Chooser<'a> {
    Nothing,
    Seeded {
        rng: SplitMix64,
        /// How many of 256 are kept.
        bias: u64,
    },
    Mask {
        left: std::slice::Iter<'a, bool>,
        /// The seed of the noise.
        file: u64,
    },
    Versions {
        left: std::slice::Iter<'a, u8>,
        /// The seed of the noise.
        file: u64,
    },
}

impl<'a> Chooser<'a> {
    /// The chooser for a power loss; `None` for [`Keep::Everything`].
    pub(super) fn new(keep: &'a Keep) -> Option<Chooser<'a>> {
        match keep {
            Keep::Everything => None,
            Keep::Nothing => Some(Chooser::Nothing),
            Keep::Seeded(seed) => {
                let mut chooser = Chooser::Seeded { rng: SplitMix64::new(*seed), bias: 0 };
                chooser.start(FileId(0));
                Some(chooser)
            }
            Keep::Mask(mask) => Some(Chooser::Mask { left: mask.iter(), file: 0 }),
            Keep::Versions(list) => Some(Chooser::Versions { left: list.iter(), file: 0 }),
        }
    }

    /// Goes on to the choices of another file. Files kept or lost as a whole show mistakes in the order
    /// between files; a half-kept file shows mistakes within it.
    pub(super) fn start(&mut self, id: FileId) {
        match self {
            Chooser::Nothing => {}
            Chooser::Seeded { rng, bias } => {
                *bias = [0, 16, 64, 128, 192, 240, 256, 256][rng.below(8) as usize];
            }
            Chooser::Mask { file, .. } | Chooser::Versions { file, .. } => *file = id.0,
        }
    }

    /// Whether a change is kept.
    pub(super) fn keep(&mut self) -> bool {
        match self {
            Chooser::Nothing => false,
            Chooser::Seeded { rng, bias } => rng.below(256) < *bias,
            Chooser::Mask { left, .. } => left.next().copied().unwrap_or(false),
            Chooser::Versions { left, .. } => left.next().is_some_and(|&version| version > 0),
        }
    }

    /// The version of a sector that is shown: `None` is the durable one, `older` the newest.
    pub(super) fn version(&mut self, older: usize) -> Option<usize> {
        if let Chooser::Versions { left, .. } = self {
            let version = usize::from(left.next().copied().unwrap_or(0));
            return version.checked_sub(1).map(|version| version.min(older));
        }
        if !self.keep() {
            return None;
        }
        let mut version = older;
        if let Chooser::Seeded { rng, .. } = self
            && older > 0
            && rng.below(2) == 0
        {
            version = rng.below(older as u64) as usize;
        }
        Some(version)
    }

    /// The length of a file whose durable length is `old` and whose seen length is `new`.
    pub(super) fn length(&mut self, old: u64, new: u64) -> u64 {
        if let Chooser::Seeded { rng, .. } = self {
            return match rng.below(4) {
                0 => old,
                1 => old + rng.below(new - old + 1),
                _ => new,
            };
        }
        if self.keep() { new } else { old }
    }

    /// The bytes of space that was never written; `None` is zeros.
    pub(super) fn filler(&mut self) -> Option<Filler> {
        match self {
            Chooser::Nothing => None,
            Chooser::Seeded { rng, .. } => {
                let (stale, seed) = (rng.below(3) > 0, rng.next());
                stale.then(|| Filler::mixed(seed))
            }
            Chooser::Mask { file, .. } | Chooser::Versions { file, .. } => {
                let seed = *file;
                self.keep().then(|| Filler::noise(seed))
            }
        }
    }
}

/// Stale bytes on the device.
pub(super) struct Filler {
    noise: Arc<Page>,
    /// Decides which pages are not noise; `None`: all are.
    mixture: Option<SplitMix64>,
}

impl Filler {
    /// Noise everywhere.
    fn noise(seed: u64) -> Filler {
        let mut rng = SplitMix64::new(seed);
        let mut noise = [0; PAGE_BYTES as usize];
        for word in noise.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
        Filler { noise: Arc::new(noise), mixture: None }
    }

    /// Noise, zeros, and the bytes of a removed file.
    fn mixed(seed: u64) -> Filler {
        Filler { mixture: Some(SplitMix64::new(!seed)), ..Filler::noise(seed) }
    }

    pub(super) fn page(&mut self, index: u64, removed: &Pages) -> Option<Arc<Page>> {
        match self.mixture.as_mut().map_or(1, |rng| rng.below(4)) {
            0 => None,
            1 => Some(Arc::clone(&self.noise)),
            _ => removed.page(index).cloned(),
        }
    }
}
