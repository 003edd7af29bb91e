//! `indexer config`: every setting, its value and where it came from.

use std::io::{self, Write};

use super::{CommandError, table::Table};
use crate::settings::{Layers, Settings, variable_of};

pub(super) fn run(layers: &Layers, settings: &Settings) -> Result<(), CommandError> {
    let mut table = Table::new(&["setting", "value", "from", "environment variable"]);
    for (name, value, origin) in layers.rows(settings) {
        table.row([name.to_owned(), value, origin.to_string(), variable_of(name)]);
    }
    let mut out = io::stdout().lock();
    write!(out, "{table}").map_err(CommandError::writing("standard output"))
}
