use super::fault::Kind;

/// A wrong program, to see that the checker finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Every version may be left out, an official one too.
    ConflatedOfficial,
    /// Frames of a snapshot have a cursor.
    IdOnSnapshot,
    /// The log has a hole.
    SkippedSeq,
    /// A reader does not hear of an invalidation.
    LostGone,
    /// A frame is lost on its way.
    LostFrame,
    /// A change of rights reaches no open connection.
    DeafToRights,
    /// A reader goes on from a cursor of before its rights changed as if they had not.
    ResumeUnmoved,
    /// A change of rights takes nothing away.
    KeptRevoked,
    /// A change of rights overtakes what came before it.
    MovedTooSoon,
    /// A cursor says that a change of rights was told before it was.
    CursorBeforeMove,
    /// A change of rights is told again to who has gone on from it.
    ToldTwice,
    /// A change of rights ends in another epoch than it began.
    MovedAcrossEpochs,
    /// A late reader is not known to hold what was released to it.
    UnknownReleased,
    /// Nothing is held back on the way.
    ForgottenEmbargo,
    /// Nobody hears that an embargo is over.
    LostRelease,
    /// The prefixes of a filter are forgotten.
    ForgottenFilter,
    /// Committed entries are gone and the epoch stays.
    KeptEpoch,
    /// A version that was left out is patched all the same.
    PatchOfLeftOut,
    /// A late reader goes on from its cursor in a log that is cut.
    CutLog,
    /// A snapshot is complete before the log has caught up with it.
    EarlyLive,
}

impl Mutant {
    /// Each with the rules that it breaks.
    pub const ALL: &'static [(Self, &'static [Kind])] = &[
        (Self::ConflatedOfficial, &[Kind::Missing]),
        (Self::IdOnSnapshot, &[Kind::Cursor]),
        (Self::SkippedSeq, &[Kind::Receipt]),
        (Self::LostGone, &[Kind::State, Kind::Missing]),
        (Self::LostFrame, &[Kind::Chain, Kind::Missing, Kind::State, Kind::Patch]),
        (Self::DeafToRights, &[Kind::Forbidden, Kind::State, Kind::Missing]),
        (Self::ResumeUnmoved, &[Kind::Patch, Kind::Forbidden, Kind::State, Kind::Missing]),
        (Self::KeptRevoked, &[Kind::State, Kind::Missing]),
        (Self::MovedTooSoon, &[Kind::State, Kind::Missing]),
        (Self::CursorBeforeMove, &[Kind::State, Kind::Missing, Kind::Forbidden]),
        (Self::ToldTwice, &[Kind::Chain, Kind::State]),
        (Self::MovedAcrossEpochs, &[Kind::State, Kind::Missing, Kind::Patch, Kind::Chain, Kind::Protocol]),
        (Self::UnknownReleased, &[Kind::Missing, Kind::State]),
        (Self::ForgottenEmbargo, &[Kind::Forbidden]),
        (Self::LostRelease, &[Kind::State, Kind::Missing]),
        (Self::ForgottenFilter, &[Kind::Forbidden]),
        (
            Self::KeptEpoch,
            &[Kind::Forbidden, Kind::State, Kind::Missing, Kind::Patch, Kind::Chain, Kind::Protocol],
        ),
        (Self::PatchOfLeftOut, &[Kind::Patch]),
        (Self::CutLog, &[Kind::State, Kind::Missing, Kind::Patch, Kind::Protocol]),
        (Self::EarlyLive, &[Kind::State, Kind::Patch, Kind::Missing, Kind::Protocol]),
    ];
}
