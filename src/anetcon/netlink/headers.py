"""Kernel names and numbers of ctnetlink, as the kernel's headers have them. Nothing else lives here.

A message is a `struct nlmsghdr` (16 bytes), a `struct nfgenmsg` (4 bytes), then attributes: a 4-byte `struct nlattr`
(length with the header, type), the payload, padding to 4 bytes. All payload numbers are big-endian, headers are the
machine's own order (little-endian here; big-endian machines are refused by the decoder).
"""

# linux/netlink.h
NLMSG_HDRLEN = 16
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_REPLACE = 0x100
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLA_HDRLEN = 4
NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED (1<<15) and NLA_F_NET_BYTEORDER (1<<14)
NETLINK_NETFILTER = 12

# linux/netfilter/nfnetlink.h
NFGENMSG_LEN = 4
NFNL_SUBSYS_CTNETLINK = 1
NFNL_SUBSYS_NFTABLES = 10
NFNETLINK_V0 = 0

# linux/netfilter/nfnetlink_conntrack.h: enum cntl_msg_types, as nlmsg_type of an event or a dump's answer
IPCTNL_MSG_CT_NEW = 0
IPCTNL_MSG_CT_GET = 1
IPCTNL_MSG_CT_DELETE = 2
TYPE_NEW = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW
TYPE_DESTROY = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE
ATTRIBUTES = NLMSG_HDRLEN + NFGENMSG_LEN
"""Where the attributes of a ctnetlink message start."""

# enum ctattr_type
CTA_TUPLE_ORIG = 1
CTA_TUPLE_REPLY = 2
CTA_STATUS = 3
CTA_PROTOINFO = 4
CTA_TIMEOUT = 7
CTA_MARK = 8
CTA_COUNTERS_ORIG = 9
CTA_COUNTERS_REPLY = 10
CTA_ID = 12
CTA_ZONE = 18
CTA_TIMESTAMP = 20
CTA_TIMESTAMP_EVENT = 27  # since 6.14

# linux/netfilter/nf_conntrack_common.h: enum ip_conntrack_status, bits of CTA_STATUS
IPS_SEEN_REPLY = 1 << 1
IPS_ASSURED = 1 << 2

# enum ctattr_tuple
CTA_TUPLE_IP = 1
CTA_TUPLE_PROTO = 2
CTA_TUPLE_ZONE = 3

# enum ctattr_ip
CTA_IP_V4_SRC = 1
CTA_IP_V4_DST = 2
CTA_IP_V6_SRC = 3
CTA_IP_V6_DST = 4

# enum ctattr_l4proto
CTA_PROTO_NUM = 1
CTA_PROTO_SRC_PORT = 2
CTA_PROTO_DST_PORT = 3
CTA_PROTO_ICMP_ID = 4
CTA_PROTO_ICMP_TYPE = 5
CTA_PROTO_ICMP_CODE = 6
CTA_PROTO_ICMPV6_ID = 7
CTA_PROTO_ICMPV6_TYPE = 8
CTA_PROTO_ICMPV6_CODE = 9

# enum ctattr_protoinfo, ctattr_protoinfo_tcp
CTA_PROTOINFO_TCP = 1
CTA_PROTOINFO_TCP_STATE = 1

# enum ctattr_counters
CTA_COUNTERS_PACKETS = 1
CTA_COUNTERS_BYTES = 2

# enum ctattr_tstamp: nanoseconds since 1970
CTA_TIMESTAMP_START = 1
CTA_TIMESTAMP_STOP = 2

# linux/netfilter/nf_conntrack_tcp.h: enum tcp_conntrack
TCP_CONNTRACK_FIN_WAIT = 4
TCP_CONNTRACK_TIME_WAIT = 7
TCP_CONNTRACK_CLOSE = 8
