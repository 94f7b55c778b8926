//! Names that a definition may use and that later stages define. They are handed in: those stages read plans,
//! so definitions cannot ask them.

use super::plan::Form;

/// The bases and outputs of a release.
pub trait Registry {
    /// Names of the operating systems that a base can be.
    fn distributions(&self) -> Vec<&'static str>;

    /// The releases of an operating system that Kiln is tried with.
    fn suites(&self, distribution: &str) -> Vec<&'static str>;

    /// The channels of an operating system whose vendor's disk is the base; none for others.
    fn channels(&self, distribution: &str) -> Vec<&'static str>;

    /// The form of a vendor's release that an output is made of, if it is made of one.
    fn form(&self, output: &str) -> Option<Form>;

    /// Names of the outputs.
    fn outputs(&self) -> Vec<&'static str>;

    /// The first part that an output needs and a base of this distribution lacks ("disk").
    fn missing_part(&self, distribution: &str, output: &str) -> Option<&'static str>;

    /// Whether an output consists of layers alone, for hosts with a system of their own.
    fn leaves_base_out(&self, output: &str) -> bool;

    /// Whether an output may be a disk with sectors of 4096 bytes, or is none.
    fn has_large_sectors(&self, output: &str) -> bool;

    /// Checks the table `[output.NAME]`.
    ///
    /// # Errors
    /// The deserializer's message.
    fn check_options(&self, output: &str, options: &toml::Table) -> Result<(), String>;
}
