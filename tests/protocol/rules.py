"""The rules of the protocol that are not a pure function of the product, each of which a test can weaken."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """
    As the product has it; every field weakens one rule (commit-protocol, section 7).

    Attributes:
        reads_before_begin: a writer reads what counts before its session is active.
        drains_not, lists_turns_first: nobody is waited for; T is listed before condemning.
        copies_without_session: a collector names its copies without a turn of its own.
        marks_once: the verdict rests on the marking that condemned.
        commits_without_swap: a commit is a plain write. follows_commit_blindly: an unknown commit is taken for success.
        deletes_before_verdict: what is going to be called dead is deleted first.
        condemns_without_number: whatever is condemned is judged.
        carries_result: a result that lost its number is published under the next.
        deletes_generations: an old number can be created again.
        lists_index: every stored run counts, named or not.
        forgets_dead: the list of the dead is dropped, and runs that mention them stay.
        caches_without_purging: a writer goes on using runs that are no longer named.
        reuses_refused_packs: packs of a revoked turn are named again. reuses_stored_packs: where HEAD and the newest generation
            have nothing against it.
        keeps_references: what was decided in one turn is committed in the next as it is.
        confirms_last_turn_only: compared with the turn before, although what waits is older.
        names_late_packs: packs stored in one turn are named in the next without a look at what was condemned.
        keeps_entries: an earlier entry is not looked up.
        forgets_at_once: rule 4.6 left out. drops_at_once: for entries that go by lineage.
        begins_behind: a turn is gone on with that is not above its watermark.
        drops_commits: begin keeps no unfolded commit. folds_without_watermark: what was folded counts still.
        reads_forgets_late: after the cells.
        deletes_unknown: merged runs of a generation whose creation is unknown are deleted.
        merges_condemned: runs that mention condemned packs are merged with others.
        skips_own: a collector does not wait for the identity that it copied with.
        reads_generation_first: a reader. hides_dropped: it does not find dropped entries that a point names again.
        names_old_listing: a repair names packs that it listed under an older generation.
        stale_hold: a hold is put into a generation computed from an older one.
    """

    reads_before_begin: bool = False
    drains_not: bool = False
    lists_turns_first: bool = False
    copies_without_session: bool = False
    marks_once: bool = False
    commits_without_swap: bool = False
    follows_commit_blindly: bool = False
    deletes_before_verdict: bool = False
    condemns_without_number: bool = False
    carries_result: bool = False
    deletes_generations: bool = False
    lists_index: bool = False
    forgets_dead: bool = False
    caches_without_purging: bool = False
    reuses_refused_packs: bool = False
    reuses_stored_packs: bool = False
    keeps_references: bool = False
    confirms_last_turn_only: bool = False
    names_late_packs: bool = False
    keeps_entries: bool = False
    forgets_at_once: bool = False
    drops_at_once: bool = False
    begins_behind: bool = False
    drops_commits: bool = False
    folds_without_watermark: bool = False
    reads_forgets_late: bool = False
    deletes_unknown: bool = False
    merges_condemned: bool = False
    skips_own: bool = False
    reads_generation_first: bool = False
    hides_dropped: bool = False
    names_old_listing: bool = False
    stale_hold: bool = False


AS_BUILT = Rules()
