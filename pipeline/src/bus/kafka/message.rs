//! Records on their way between the client library and us.
#![allow(unsafe_code, reason = "the library's own reader of headers panics on a name that is not UTF-8")]

use crate::record::{Header, LogRecord};
use rdkafka::Timestamp;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_message_headers, rd_kafka_resp_err_t};
use rdkafka::message::{BorrowedMessage, Message, OwnedHeaders};
use schemas::{TimeMs, TopicSpec};
use std::ffi::CStr;
use std::{ptr, slice};

/// Returns a message as a record of one of our topics.
pub(super) fn record_of(topic: &'static TopicSpec, message: &BorrowedMessage<'_>) -> LogRecord {
    LogRecord {
        topic,
        partition: partition_of(message),
        offset: offset_of(message),
        time: time_of(message),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers_of(message),
    }
}

/// Returns a message's partition.
pub(super) fn partition_of(message: &BorrowedMessage<'_>) -> u32 {
    message.partition().unsigned_abs()
}

/// Returns a message's offset.
pub(super) fn offset_of(message: &BorrowedMessage<'_>) -> u64 {
    message.offset().unsigned_abs()
}

fn time_of(message: &BorrowedMessage<'_>) -> TimeMs {
    match message.timestamp() {
        Timestamp::CreateTime(time) | Timestamp::LogAppendTime(time) => time,
        Timestamp::NotAvailable => 0,
    }
}

/// Returns a message's headers. Anyone who may produce chooses their names, so a name may be any bytes.
fn headers_of(message: &BorrowedMessage<'_>) -> Vec<Header> {
    let none = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    let mut headers = Vec::new();
    let mut list = ptr::null_mut();
    // SAFETY: the pointer is that of a message which the borrow keeps alive, and the library writes a pointer to `list`
    // that lives as long as the message.
    if unsafe { rd_kafka_message_headers(message.ptr(), &mut list) } != none {
        return headers;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: `list` is a list of headers of the message, see above; the library says so where it has no such index.
        if unsafe { rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size) } != none {
            break;
        }
        // SAFETY: a name is a string that ends with a zero byte and lives as long as the list.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        let value = if value.is_null() {
            Vec::new()
        } else {
            // SAFETY: a value that is not null has `size` bytes, which live as long as the list.
            unsafe { slice::from_raw_parts(value.cast::<u8>(), size) }.to_vec()
        };
        headers.push(Header { name, value });
    }
    headers
}

/// Returns headers as the library takes them.
pub(super) fn owned_headers(headers: &[Header]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let list = OwnedHeaders::new_with_capacity(headers.len());
    let insert = |list: OwnedHeaders, header: &Header| {
        list.insert(rdkafka::message::Header { key: &header.name, value: Some(&header.value) })
    };
    Some(headers.iter().fold(list, insert))
}

/// Returns a time as brokers take it: zero would be taken for now, and what is below is refused.
pub(super) fn timestamp(time: TimeMs) -> i64 {
    time.max(1)
}

/// Returns a partition as the library numbers it.
pub(super) fn signed(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Returns an offset as the library numbers it.
pub(super) fn offset(offset: u64) -> rdkafka::Offset {
    rdkafka::Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}
