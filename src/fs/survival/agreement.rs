//! What a daemon and the kernel agreed on when a connection began: it holds for the connection's whole life.

use serde::{Deserialize, Serialize};

/// The kernel's INIT and the reply to it, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    #[serde(with = "hex::serde")]
    pub request: Vec<u8>,
    #[serde(with = "hex::serde")]
    pub reply: Vec<u8>,
}

/// `struct fuse_init_out` behind its header of 16 bytes, as far as it matters here.
struct Reply {
    flags: u64,
    max_write: u32,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (low, high) = (u64::from(word(28)?), u64::from(word(48)?));
        Some(Self { flags: low | high << 32, max_write: word(36)? })
    }
}

impl Agreement {
    /// FUSE_HAS_RESEND: the kernel can send requests again that a dead daemon took (Linux 6.9 and newer).
    const RESEND: u64 = 1 << 39;
    /// FUSE_INIT_EXT only says that there are more than 32 flags.
    const EXTENDED: u64 = 1 << 30;

    /// Whether requests that one daemon took can come to the next one.
    pub fn has_resend(&self) -> bool {
        // Behind a header of 40 bytes: major, minor, max_readahead, flags, flags2.
        let word = |at: usize| Some(u32::from_ne_bytes(self.request.get(at..at + 4)?.try_into().ok()?));
        let flags = word(52).zip(word(56)).map_or(0, |(low, high)| u64::from(low) | u64::from(high) << 32);
        flags & Self::RESEND != 0
    }

    /// The INIT for a later daemon: the kernel offers no more than what was agreed.
    pub fn offer(&self) -> Vec<u8> {
        let mut request = self.request.clone();
        if let Some(agreed) = Reply::parse(&self.reply)
            && request.len() >= 60
        {
            let flags = agreed.flags | Self::EXTENDED;
            request[52..56].copy_from_slice(&(flags as u32).to_ne_bytes());
            request[56..60].copy_from_slice(&((flags >> 32) as u32).to_ne_bytes());
        }
        request
    }

    /// Whether a daemon that would answer with `reply` now can live with what was agreed then.
    pub fn check(&self, reply: &[u8]) -> Result<(), String> {
        let garbled = || "what was agreed on with the kernel cannot be read".to_owned();
        let agreed = Reply::parse(&self.reply).ok_or_else(garbled)?;
        let now = Reply::parse(reply).ok_or_else(garbled)?;
        let missing = now.flags & !agreed.flags & !Self::EXTENDED;
        let unknown = agreed.flags & !now.flags & !Self::EXTENDED;
        if missing != 0 || unknown != 0 {
            return Err(format!(
                "this version and the kernel would agree on other features (flags {:#x}) than the mount began with ({:#x}); \
                 end what uses the mount, unmount it and mount it again",
                now.flags, agreed.flags
            ));
        }
        if now.max_write < agreed.max_write {
            return Err(format!(
                "this version takes requests of {} bytes, the mount began with {}; unmount it and mount it again",
                now.max_write, agreed.max_write
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(flags: u64, max_write: u32) -> Vec<u8> {
        let mut bytes = vec![0; 80];
        bytes[28..32].copy_from_slice(&(flags as u32).to_ne_bytes());
        bytes[36..40].copy_from_slice(&max_write.to_ne_bytes());
        bytes[48..52].copy_from_slice(&((flags >> 32) as u32).to_ne_bytes());
        bytes
    }

    #[test]
    fn a_daemon_with_other_features_does_not_take_a_mount_over() {
        let agreed = Agreement { request: Vec::new(), reply: reply(1 << 36 | 3, 4096) };
        assert_eq!(agreed.check(&reply(1 << 36 | 3 | Agreement::EXTENDED, 8192)), Ok(()));
        assert!(agreed.check(&reply(3, 4096)).unwrap_err().contains("mount it again"));
        assert!(agreed.check(&reply(1 << 36 | 7, 4096)).is_err());
        assert!(agreed.check(&reply(1 << 36 | 3, 2048)).is_err());
        assert!(agreed.check(&[]).is_err());
    }

    #[test]
    fn a_kernel_says_whether_it_can_send_again() {
        let mut request = vec![0; 104];
        assert!(!Agreement { request: request.clone(), reply: Vec::new() }.has_resend());
        request[56..60].copy_from_slice(&(1u32 << 7).to_ne_bytes());
        assert!(Agreement { request, reply: Vec::new() }.has_resend());
        assert!(!Agreement { request: Vec::new(), reply: Vec::new() }.has_resend());
    }
}
