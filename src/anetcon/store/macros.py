"""Macros for DuckDB, from 1.1 on: addresses as text, addresses and networks from text, connections from files.

They are plain SQL, so `anetcon sql --macros` gives them to any DuckDB. Refuses to be quick: a condition on text is
computed for each row, one with `ip` or `in_net` of a constant is computed once and then compares bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from anetcon.record import CONNECTIONS, Field, file_fields

ADDRESSES = """\
-- The text of an address of 16 bytes, as anetcon prints it.
CREATE OR REPLACE MACRO ip4_text(address) AS array_to_string(
  [('0x' || substr(hex(address), 25 + 2 * i, 2))::INT for i in [0, 1, 2, 3]], '.');
CREATE OR REPLACE MACRO ip6_groups(address) AS array_to_string(
  [coalesce(nullif(ltrim(lower(substr(hex(address), 1 + 4 * i, 4)), '0'), ''), '0') for i in [0, 1, 2, 3, 4, 5, 6, 7]],
  ':');
-- The longest run of zeros, the first of several, becomes `::`.
CREATE OR REPLACE MACRO ip6_short(groups) AS CASE
  WHEN contains(groups, ':0:0:0:0:0:0:0:0:') THEN '::'
  WHEN contains(groups, ':0:0:0:0:0:0:0:') THEN regexp_replace(groups, ':0:0:0:0:0:0:0:', '::')
  WHEN contains(groups, ':0:0:0:0:0:0:') THEN regexp_replace(groups, ':0:0:0:0:0:0:', '::')
  WHEN contains(groups, ':0:0:0:0:0:') THEN regexp_replace(groups, ':0:0:0:0:0:', '::')
  WHEN contains(groups, ':0:0:0:0:') THEN regexp_replace(groups, ':0:0:0:0:', '::')
  WHEN contains(groups, ':0:0:0:') THEN regexp_replace(groups, ':0:0:0:', '::')
  WHEN contains(groups, ':0:0:') THEN regexp_replace(groups, ':0:0:', '::')
  ELSE groups END;
CREATE OR REPLACE MACRO ip6_text(address) AS CASE
  WHEN starts_with(hex(address), '00000000000000000000FFFF') THEN '::ffff:' || ip4_text(address)
  WHEN starts_with(hex(address), repeat('0', 24)) AND substr(hex(address), 25, 4) <> '0000'
    THEN '::' || ip4_text(address)
  ELSE regexp_replace(regexp_replace(ip6_short(':' || ip6_groups(address) || ':'), '^:([^:])', '\\1'),
    '([^:]):$', '\\1') END;
CREATE OR REPLACE MACRO ip_text(address, family) AS CASE
  WHEN family IS DISTINCT FROM 'ipv6' AND starts_with(hex(address), '00000000000000000000FFFF') THEN ip4_text(address)
  ELSE ip6_text(address) END;

-- The 16 bytes of an address: WHERE src_ip = ip('10.1.0.12')
CREATE OR REPLACE MACRO hex_groups(groups) AS
  coalesce(array_to_string([lpad(x, 4, '0') for x in groups if x <> ''], ''), '');
CREATE OR REPLACE MACRO ip6_hex(text) AS
  hex_groups(string_split(split_part(text, '::', 1), ':'))
  || repeat('0', 32 * contains(text, '::')::INT
    - contains(text, '::')::INT * length(hex_groups(string_split(split_part(text, '::', 1), ':')))
    - contains(text, '::')::INT * length(hex_groups(string_split(split_part(text, '::', 2), ':'))))
  || hex_groups(string_split(split_part(text, '::', 2), ':'));
CREATE OR REPLACE MACRO ip4_hex(text) AS '00000000000000000000FFFF' || printf('%02X%02X%02X%02X',
  split_part(text, '.', 1)::UTINYINT::INT, split_part(text, '.', 2)::UTINYINT::INT,
  split_part(text, '.', 3)::UTINYINT::INT, split_part(text, '.', 4)::UTINYINT::INT);
CREATE OR REPLACE MACRO ip_hex(text) AS CASE WHEN contains(text, ':') THEN ip6_hex(text) ELSE ip4_hex(text) END;
CREATE OR REPLACE MACRO ip(text) AS CASE WHEN length(ip_hex(text)) = 32 AND len(string_split(text, '::')) < 3
  THEN unhex(ip_hex(text))
  ELSE error(text || ' is no address') END;

-- Whether an address is in a network: WHERE in_net(src_ip, '10.0.0.0/8')
CREATE OR REPLACE MACRO net_bits(network) AS CASE WHEN contains(network, ':') THEN 0 ELSE 96 END
  + CASE WHEN contains(network, '/') THEN split_part(network, '/', 2)::UTINYINT::INT
    WHEN contains(network, ':') THEN 128 ELSE 32 END;
CREATE OR REPLACE MACRO net_digit(digits, bits) AS
  coalesce(TRY_CAST('0x' || substr(digits, bits // 4 + 1, 1) AS INT), 0);
CREATE OR REPLACE MACRO net_edge(digits, bits, add, fill) AS unhex(left(digits, bits // 4)
  || CASE WHEN bits >= 128 THEN '' ELSE printf('%X', (net_digit(digits, bits)
    - net_digit(digits, bits) % (1 << (4 - bits % 4)) + add * ((1 << (4 - bits % 4)) - 1))::INT)
    || repeat(fill, 31 - bits // 4) END);
CREATE OR REPLACE MACRO net_first(network) AS
  net_edge(hex(ip(split_part(network, '/', 1))), net_bits(network), 0, '0');
CREATE OR REPLACE MACRO net_last(network) AS
  net_edge(hex(ip(split_part(network, '/', 1))), net_bits(network), 1, 'F');
CREATE OR REPLACE MACRO in_net(address, network) AS
  coalesce(address BETWEEN net_first(network) AND net_last(network), false);
"""

SIDES = ("src", "dst", "nat_src", "nat_dst")


def readable(fields: Iterable[Field]) -> str:
    """The columns of a view of connections: as in the field table with each address as text, and behind them the
    addresses' bytes."""
    fields = list(fields)
    shown = [
        f"ip_text({field.name}, family) AS {field.name.removesuffix('_ip')}"
        if field.kind == "address"
        else f'"{field.name}"'
        for field in fields
    ]
    return ", ".join([*shown, *(field.name for field in fields if field.kind == "address")])


def by_address(connections: str) -> str:
    """The SELECT with a row for each different side of a connection: which `side` it is, `ip` and `port`."""
    legs = [
        f"SELECT '{side}' AS side, {side}_ip AS ip, {side} AS address, {side}_port AS port, * FROM {connections} "  # noqa: S608
        f"WHERE {side}_ip IS NOT NULL{''.join(f' AND {side}_ip IS DISTINCT FROM {other}_ip' for other in SIDES[:at])}"
        for at, side in enumerate(SIDES)
    ]
    return " UNION ALL ".join(legs)


def text() -> str:
    """The macro file."""
    head = """\
-- Macros of anetcon for DuckDB 1.1 and later: .read this file, then
--   SELECT * FROM connections('/var/lib/anetcon/node=*/date=*/*.parquet') WHERE in_net(src_ip, '10.0.0.0/8');
-- They read files of format 3 (connections that ended); `anetcon sql` reads every format, and says what is missing.

"""
    return f"""{head}{ADDRESSES}
CREATE OR REPLACE MACRO connections(files) AS TABLE
  SELECT {readable(file_fields("connections"))}
  FROM read_parquet(files, union_by_name = true, hive_partitioning = false);
CREATE OR REPLACE MACRO by_address(files) AS TABLE
  {by_address("connections(files)")};
"""  # noqa: S608 - no text of others is in it


def of_store() -> str:
    """The columns of the view that `anetcon sql` has."""
    return readable(CONNECTIONS)
