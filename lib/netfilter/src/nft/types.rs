//! Types of set keys, by the numbers and sizes of `nft`: the kernel stores them for its sake only.

/// Type of a key's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DataType {
    /// `nft`'s number.
    pub number: u32,
    /// Bytes.
    pub len: u32,
    /// Whether its bytes are in host order.
    pub host_order: bool,
}

/// Bits of each field's number in the number of a concatenation.
const FIELD_BITS: u32 = 6;

impl DataType {
    /// `nf_proto`, one byte.
    pub const NETWORK_PROTOCOL: DataType = big(2, 1);
    /// `integer` of four bytes.
    pub const INTEGER: DataType = big(4, 4);
    /// `ipv4_addr`
    pub const IPV4: DataType = big(7, 4);
    /// `ipv6_addr`
    pub const IPV6: DataType = big(8, 16);
    /// `ether_addr`
    pub const ETHERNET: DataType = big(9, 6);
    /// `inet_proto`
    pub const PROTOCOL: DataType = big(12, 1);
    /// `inet_service`
    pub const PORT: DataType = big(13, 2);
    /// `icmp_type`
    pub const ICMP_TYPE: DataType = big(14, 1);
    /// `mark`
    pub const MARK: DataType = host(19, 4);
    /// `iface_index`
    pub const LINK_INDEX: DataType = host(20, 4);
    /// `icmpv6_type`
    pub const ICMPV6_TYPE: DataType = big(29, 1);
    /// `ifname`
    pub const LINK_NAME: DataType = host(41, 16);

    const ALL: [DataType; 12] = [
        Self::NETWORK_PROTOCOL,
        Self::INTEGER,
        Self::IPV4,
        Self::IPV6,
        Self::ETHERNET,
        Self::PROTOCOL,
        Self::PORT,
        Self::ICMP_TYPE,
        Self::MARK,
        Self::LINK_INDEX,
        Self::ICMPV6_TYPE,
        Self::LINK_NAME,
    ];

    /// Bytes of the field in a concatenation.
    pub fn padded(self) -> u32 {
        self.len.next_multiple_of(4)
    }
}

const fn big(number: u32, len: u32) -> DataType {
    DataType { number, len, host_order: false }
}

const fn host(number: u32, len: u32) -> DataType {
    DataType { number, len, host_order: true }
}

/// The number of these types put together.
pub(crate) fn number_of(types: &[DataType]) -> u32 {
    types.iter().fold(0, |number, field| number << FIELD_BITS | field.number)
}

/// Bytes of a key of these types: plain for one, padded for several.
pub(crate) fn length_of(types: &[DataType]) -> u32 {
    match types {
        [one] => one.len,
        several => several.iter().map(|field| field.padded()).sum(),
    }
}

/// The types of this number; empty when one is not known.
pub(crate) fn from_number(mut number: u32) -> Vec<DataType> {
    let mut types = Vec::new();
    while number != 0 {
        let field = number & ((1 << FIELD_BITS) - 1);
        match DataType::ALL.iter().find(|known| known.number == field) {
            Some(known) => types.insert(0, *known),
            None => return Vec::new(),
        }
        number >>= FIELD_BITS;
    }
    types
}
