//! What a crash keeps.

use std::sync::Arc;

use super::names::FileId;
use super::pages::{PAGE_BYTES, Page, Pages};
use crate::engine::base::random::SplitMix64;

/// What a crash keeps of what was not yet durable.
///
/// A power loss decides about each [`Choice`] alone; what is durable it always keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The process is killed and the operating system lives on. Everything is seen as before,
    /// and what was not durable is still not: the next crash may take it.
    Everything,
    /// A power loss that takes everything that was not durable.
    Nothing,
    /// A power loss that decides by chance, from a seed. How much is kept is drawn anew for the
    /// names and for each file, from nothing to all; a kept sector may show any version since
    /// its last sync, a kept length may be any between the old one and the new one, and space
    /// that was never written may show zeros, noise, or what a removed file had there.
    Seeded(u64),
    /// A power loss that decides as told: for each of [`SimDisk::choices`](super::SimDisk::choices),
    /// in that order, the newest version or the durable one. What the list is too short for is
    /// not kept.
    Mask(Vec<bool>),
    /// As [`Keep::Mask`], with a version for each choice: 0 for the durable one, 1 for the oldest
    /// since, and so on up to [`Choice::versions`]; what is more is taken for the newest.
    Versions(Vec<u8>),
}

impl Keep {
    /// The mask of 128 choices whose i-th is the i-th lowest bit of `bits`.
    pub fn bits(bits: u128) -> Keep {
        Keep::Mask((0..128).map(|i| bits >> i & 1 == 1).collect())
    }
}

/// One of the things that a power loss decides, independently of the others but for one rule:
/// of the changes to a name, a later one survives only with the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// Whether a name was created, renamed or removed.
    Name {
        /// What is done to which names.
        change: String,
    },
    /// Whether a file has its new length.
    Length {
        /// A name of the file.
        file: String,
    },
    /// Whether never synced space of a file shows stale bytes instead of zeros.
    Stale {
        /// A name of the file.
        file: String,
    },
    /// Which version 512 bytes of a file show.
    Sector {
        /// A name of the file.
        file: String,
        /// The offset of the bytes, over 512.
        sector: u64,
        /// How many versions there are besides the durable one.
        versions: usize,
    },
}

impl Choice {
    /// How many outcomes there are besides that nothing is kept.
    pub fn versions(&self) -> usize {
        match self {
            Choice::Sector { versions, .. } => *versions,
            _ => 1,
        }
    }
}

/// Takes the decisions.
pub(super) enum Chooser<'a> {
    Nothing,
    Seeded {
        rng: SplitMix64,
        /// How many of 256 are kept.
        bias: u64,
    },
    Mask {
        left: std::slice::Iter<'a, bool>,
        /// What the noise comes from.
        file: u64,
    },
    Versions {
        left: std::slice::Iter<'a, u8>,
        /// What the noise comes from.
        file: u64,
    },
}

impl<'a> Chooser<'a> {
    /// The chooser for a power loss; none for [`Keep::Everything`].
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

    /// Goes on to the choices of another file. Whole files that were kept or not show mistakes
    /// in the order between files; a half shows those within one.
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

    /// Which version of a sector is shown: none is the durable one, `older` the newest.
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

    /// The length of a file that was `old` bytes long and is to be `new`.
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

    /// What shows where nothing was written; none is zeros.
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

/// What the device had before.
pub(super) struct Filler {
    noise: Arc<Page>,
    /// Where there is something else than noise; if none, nowhere.
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

    /// Noise, zeros, and what a removed file had there.
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
