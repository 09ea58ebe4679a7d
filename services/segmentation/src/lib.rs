//! Who belongs where, and why: segments, memberships, freezes, holdouts.
