//! Readers of archives from outside: hostile until proven otherwise.
