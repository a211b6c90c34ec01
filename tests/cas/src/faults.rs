//! What may go wrong on the way to a client.

/// Which answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Of which chunks a range of a file is made.
    Plans,
    Chunks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection stays open and nothing comes.
    Hang,
    Status(u16),
    /// So many bytes of the body, and then nothing more.
    StallAfter(usize),
    /// So many bytes of the body, and then the connection is closed.
    CutAfter(usize),
    /// The byte at this place of the body is another one.
    Flip(usize),
    /// Something else instead of the body.
    Garbage,
}
