//! What people write, parsed at the edge: YAML, amounts, durations and calendars.

mod amount;
mod calendar;
mod read;
mod span;

pub use amount::{
    format_amount, format_level, format_queue_limit, is_cpu, parse_amount, parse_level, parse_queue_limit,
};
pub use calendar::{CivilCalendar, check_time_zone, format_instant, parse_instant};
pub use read::{
    ALIASES_MAX, At, FILE_BYTES_MAX, NESTING_MAX, NODES_MAX, Place, Problem, Problems, Text, TextError,
    UNFOLDED_NODES_MAX, read_file, read_yaml, write_yaml,
};
pub use span::{format_span, parse_span};
