//! What befalls a store beside crashes, as it is written down.

use serde::{Deserialize, Serialize};

/// What befell a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {}
