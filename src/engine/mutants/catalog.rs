//! All mutants, one in a line: what it is called, and what somebody did wrong.

/// What part of the store's promise a mistake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Records, segments, and what a scan makes of them.
    Log,
    /// What is told to be durable.
    Flush,
    /// Names of files.
    Directory,
    /// What a checkpoint has, and up to where.
    Checkpoint,
    /// Who owns a block of the data file, and what is in it.
    Extents,
    /// Where a page is.
    PageMap,
    /// The root of everything.
    Superblock,
    /// What is made of the log after a crash.
    Recovery,
    /// What snapshots see.
    Versions,
    /// The reported state of a commit.
    Receipts,
    /// What follows a failed flush.
    Poison,
    /// What follows a failed allocation or write.
    DiskFull,
    /// What a server tells its clients.
    Server,
}

impl Class {
    /// All classes.
    pub const ALL: &[Class] = &[
        Class::Log,
        Class::Flush,
        Class::Directory,
        Class::Checkpoint,
        Class::Extents,
        Class::PageMap,
        Class::Superblock,
        Class::Recovery,
        Class::Versions,
        Class::Receipts,
        Class::Poison,
        Class::DiskFull,
        Class::Server,
    ];

    /// The class in words.
    pub fn name(self) -> &'static str {
        match self {
            Class::Log => "log",
            Class::Flush => "flush",
            Class::Directory => "directory",
            Class::Checkpoint => "checkpoint",
            Class::Extents => "extents",
            Class::PageMap => "page map",
            Class::Superblock => "superblock",
            Class::Recovery => "recovery",
            Class::Versions => "versions",
            Class::Receipts => "receipts",
            Class::Poison => "poison",
            Class::DiskFull => "disk full",
            Class::Server => "server",
        }
    }
}

macro_rules! catalog {
    ($($class:ident { $($mutant:ident = $name:literal: $about:literal;)* })*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Mutant {
            $($(#[doc = $about] $mutant,)*)*
        }

        impl Mutant {
            /// All of them, by class.
            pub const ALL: &[Mutant] = &[$($(Mutant::$mutant,)*)*];

            /// What it is called.
            pub fn name(self) -> &'static str {
                match self { $($(Mutant::$mutant => $name,)*)* }
            }

            /// What it is about.
            pub fn class(self) -> Class {
                match self { $($(Mutant::$mutant => Class::$class,)*)* }
            }

            /// The mistake in a sentence.
            pub fn about(self) -> &'static str {
                match self { $($(Mutant::$mutant => $about,)*)* }
            }
        }
    };
}

catalog! {
    Log {
        SyncLineAhead = "sync-line-ahead": "records name the end of the log as the sync line";
        RecordPayloadUnchecked = "record-payload-unchecked": "a header with a right checksum makes a record valid";
        RecordPositionUnchecked = "record-position-unchecked": "a record is believed wherever it stands";
        RecordPaddingUnwritten = "record-padding-unwritten": "the padding of long records keeps what was there";
        UnfinishedChainApplied = "unfinished-chain-applied": "a chain without its last record counts as whole";
        ScanEndsWithSegment = "scan-ends-with-segment": "the scan does not go on into the next segment";
        RotTakenForTorn = "rot-taken-for-torn": "nobody looks at what lies after the first invalid record";
        TruncatedSegmentAccepted = "truncated-segment-accepted": "a segment that is too short is a torn tail";
        ForeignSegmentIgnored = "foreign-segment-ignored": "a segment of another store is taken for an unused file";
        FormerSegmentRecycled = "former-segment-recycled": "a log recycles files that an earlier life made";
        CurrentSegmentRecycled = "current-segment-recycled": "a checkpoint recycles the segment that it lies in too";
        GrowthUnflushed = "growth-unflushed": "more of a segment is used before its length is flushed";
        GrowthUnnoted = "growth-unnoted": "the header of a segment that grew keeps its first length";
        LimitBeyondFile = "limit-beyond-file": "a segment is used beyond what exists of its file";
        SaltPredictable = "salt-predictable": "the salt of records follows from what every token shows";
        MissingLogAccepted = "missing-log-accepted": "nobody looks whether the log of an unclean end is there";
        SegmentUnnoted = "segment-unnoted": "the superblock does not learn of new segments";
        SegmentNotedEarly = "segment-noted-early": "a segment is noted before it is durable";
        LineNotedAhead = "line-noted-ahead": "with a segment the end of the log is noted as the sync line";
        LogRecycledEarly = "log-recycled-early": "the log is recycled before the superblock is durable";
    }
    Flush {
        FlushSkipped = "flush-skipped": "the sync line moves without a flush";
        FlushFirstSegmentOnly = "flush-first-segment-only": "of a range over two segments the first part is flushed";
        FlushLastSegmentOnly = "flush-last-segment-only": "of a range over two segments the last part is flushed";
        FlushFirstPageSkipped = "flush-first-page-skipped": "the start of a long range is rounded up to a page";
        FlushLastPageSkipped = "flush-last-page-skipped": "the end of a long range is rounded down to a page";
        DurableBeyondTarget = "durable-beyond-target": "the sync line moves to what was appended during the flush";
        SyncAcknowledgedEarly = "sync-acknowledged-early": "a synchronous commit does not wait for its flush";
        CreationAcknowledgedEarly = "creation-acknowledged-early": "a keyspace is made without waiting for a flush";
        SegmentHeaderUnflushed = "segment-header-unflushed": "a segment's header and length are not flushed";
    }
    Directory {
        SegmentNameUnflushed = "segment-name-unflushed": "the directory is not flushed after a segment is made";
        RecycledNameUnflushed = "recycled-name-unflushed": "the directory is not flushed after a segment is renamed";
        DataNameUnflushed = "data-name-unflushed": "the directory is not flushed after the data file is renamed";
        UnnamedDataFileLeft = "unnamed-data-file-left": "a data file stays although its name could not be flushed";
        DataFileMadeInPlace = "data-file-made-in-place": "the data file has its name before it is whole";
        DataFileUnflushed = "data-file-unflushed": "the data file has its name before it is flushed";
        DirectoryFailurePassing = "directory-failure-passing": "a failed flush of the directory is tried again";
    }
    Checkpoint {
        CheckpointAheadOfLog = "checkpoint-ahead-of-log": "a checkpoint does not wait for the log";
        ChangedPageUnlisted = "changed-page-unlisted": "pages of the last group before a checkpoint miss the next";
        CheckpointTakesNewest = "checkpoint-takes-newest": "a checkpoint writes the newest version of each page";
        CheckpointLsnLate = "checkpoint-lsn-late": "a checkpoint names the sync line at its end as its LSN";
        CountsUnnoted = "counts-unnoted": "a checkpoint leaves the counts of keys as they were";
    }
    Extents {
        ExtentsFreedEarly = "extents-freed-early": "blocks are free before the new superblock is durable";
        TakenBlocksUnmarked = "taken-blocks-unmarked": "the free map does not learn what a checkpoint takes";
        FreedExtentReleased = "freed-extent-released": "a freed page's block is free although a snapshot reads it";
        PageUnverified = "page-unverified": "a page's checksum is read, and not computed";
        PageTailUncovered = "page-tail-uncovered": "a page's checksum does not cover its last sector";
        PageAddressUnchecked = "page-address-unchecked": "any version of a page will do where it is looked for";
        BlobLeaked = "blob-leaked": "an overwritten long value keeps its pages";
        ReplacedLongNoted = "replaced-long-noted": "a replaced value's pages are freed while readers are kept off";
        TrimForgetsBlobs = "trim-forgets-blobs": "a dropped keyspace's long values keep their pages";
    }
    PageMap {
        EvictedPageUnlisted = "evicted-page-unlisted": "pages evicted since the last checkpoint are left out";
        FreedPageStaysMapped = "freed-page-stays-mapped": "the page map keeps the word of a freed page";
        OneMapLeafWritten = "one-map-leaf-written": "only the first changed leaf of the page map is written";
        NextPageIdStale = "next-page-id-stale": "the superblock keeps the former next page id";
        DirtyPageDropped = "dirty-page-dropped": "a page that the checkpoint has is evicted as if it were clean";
        RewrittenPageStaysClean = "rewritten-page-stays-clean": "a page changed after it was evicted counts as written";
    }
    Superblock {
        SuperblockBeforePages = "superblock-before-pages": "pages are not flushed before the superblock is written";
        SuperblockUnflushed = "superblock-unflushed": "the superblock is written and not flushed";
        SuperblockUnconfirmed = "superblock-unconfirmed": "the superblock read at open is taken for durable";
        OlderDataUnnoticed = "older-data-unnoticed": "nobody looks whether the log has outlived the superblock";
        LaterCommitUnread = "later-commit-unread": "the first commit of a later life is taken for recovery's own";
        BeginningUnconfirmed = "beginning-unconfirmed": "a closed store's log goes before it is known to be closed";
        SuperblockNotCopied = "superblock-not-copied": "the other slot keeps the former superblock";
        CatalogRootStale = "catalog-root-stale": "the superblock keeps the former root of the catalog";
        KeyspaceNumberStale = "keyspace-number-stale": "the superblock keeps the former next keyspace";
        CleanWhileRunning = "clean-while-running": "every checkpoint marks the store as closed";
        FileLengthStale = "file-length-stale": "the superblock keeps the former length of the data file";
    }
    Recovery {
        ReplayTailDropped = "replay-tail-dropped": "the last, unfinished group of the replay is not applied";
        ReplaySkipsFirst = "replay-skips-first": "the record at the checkpoint counts as in it";
        ReplayFromSegmentStart = "replay-from-segment-start": "the replay begins with the checkpoint's segment";
        OperationsSortedUnstably = "operations-sorted-unstably": "changes of one key lose their order in a group";
        RecoveryServedEarly = "recovery-served-early": "the store opens without the checkpoint after its replay";
        EmptyRecoveryUnrecorded = "empty-recovery-unrecorded": "with nothing replayed no checkpoint is made";
        RecoveryUnconfirmed = "recovery-unconfirmed": "recovery begins a life on a superblock that may be cached only";
        IncarnationReused = "incarnation-reused": "a recovered store goes on in the same incarnation";
        BeginningUnrecorded = "beginning-unrecorded": "a store stays marked as closed when it is written to";
    }
    Versions {
        SnapshotVersionDropped = "snapshot-version-dropped": "a version's range of snapshots begins one late";
        OthersVersionsDropped = "others-versions-dropped": "a snapshot that ends takes versions others need";
        HistoryRangeInclusive = "history-range-inclusive": "a version's range of snapshots ends one late";
        SnapshotRangeReadsNewest = "snapshot-range-reads-newest": "a snapshot's iterator shows what is newest";
        SnapshotCountsNewest = "snapshot-counts-newest": "a snapshot tells the present number of keys";
        NeededPageChangedInPlace = "needed-page-changed-in-place": "a page that a snapshot needs is changed where it is";
        ReapedUnderSnapshot = "reaped-under-snapshot": "freed pages go although a snapshot can reach them";
    }
    Receipts {
        ReceiptDurableEarly = "receipt-durable-early": "a receipt is durable once its record is appended";
        PendingToldDurable = "pending-told-durable": "a token's status is durable once its record is appended";
        PendingToldLost = "pending-told-lost": "what is not durable yet is told to be lost";
        TokenJudgedByWrongEnd = "token-judged-by-wrong-end": "the last incarnation's end judges all tokens";
        FormerEndUnnoted = "former-end-unnoted": "the catalog does not learn where an incarnation ended";
        FormerEndTooHigh = "former-end-too-high": "an incarnation ends where the next one begins";
        SnapshotReceiptEarly = "snapshot-receipt-early": "a snapshot's receipt is that of the last checkpoint";
        LifeMarkUnchecked = "life-mark-unchecked": "a token is judged by the number of its incarnation alone";
        TokenCheckIgnored = "token-check-ignored": "a token with a wrong check is read all the same";
        PoisonUntold = "poison-untold": "after a failed flush commits are still told to be pending";
    }
    Poison {
        FailedFlushRetried = "failed-flush-retried": "a flush that fails is tried once more";
        PoisonToldOnce = "poison-told-once": "a failed flush is reported once, and then forgotten";
        CommitsAfterPoison = "commits-after-poison": "asynchronous commits go on after a failed flush";
        ReadNotRepeated = "read-not-repeated": "one read that fails amid a batch larger than the cache fails it";
        DataFailureForgotten = "data-failure-forgotten": "a failed flush of the data file is tried again";
        DataPoisonUntold = "data-poison-untold": "a failed flush of the data file stops no commits";
        FoundLengthTrusted = "found-length-trusted": "a length that an earlier life could not flush counts as durable";
        SegmentFailurePassing = "segment-failure-passing": "a failed flush of a new segment is tried again";
    }
    DiskFull {
        ChangesLostOnFailure = "changes-lost-on-failure": "a checkpoint that fails forgets what it should write";
        FailedCheckpointFreesAll = "failed-checkpoint-frees-all": "a checkpoint that fails frees what others own";
        PageWriteErrorIgnored = "page-write-error-ignored": "pages whose writing failed count as written";
        GrowthFailureIgnored = "growth-failure-ignored": "the data file counts as longer although it could not grow";
        FullDiskPoisons = "full-disk-poisons": "a segment that could not be made poisons the log";
        RoomNotMade = "room-not-made": "a commit looks for frames and blocks only when it is in the log";
        BatchNeedsDisk = "batch-needs-disk": "a batch larger than the cache fails if its pages cannot be written";
        HoleTooLong = "hole-too-long": "what a full log gives back reaches into what is written next";
        HoleUsedAgain = "hole-used-again": "a segment of which something was given back is used again as it is";
    }
    Server {
        AnsweredUnappended = "answered-unappended": "an async put is answered before it is appended";
        OnceUnrecorded = "once-unrecorded": "an idempotency key is not written with its write";
        FormerToldDurable = "former-told-durable": "every job of a former life is told to be durable";
    }
}

impl Mutant {
    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Mutant> {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mutant_has_a_name_of_its_own() {
        assert!(Mutant::ALL.len() >= 54, "{} mutants", Mutant::ALL.len());
        let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        for &mutant in Mutant::ALL {
            assert_eq!(Mutant::from_name(mutant.name()), Some(mutant));
            assert_eq!(mutant.name(), kebab(&format!("{mutant:?}")));
            assert!(!mutant.about().is_empty());
        }
        assert_eq!(Mutant::from_name("no-such-mistake"), None);
    }

    #[test]
    fn every_class_has_some() {
        for &class in Class::ALL {
            let count = Mutant::ALL.iter().filter(|mutant| mutant.class() == class).count();
            assert!(count >= 3, "{}: {count}", class.name());
        }
    }

    fn kebab(variant: &str) -> String {
        let mut name = String::new();
        for letter in variant.chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}
