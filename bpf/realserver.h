/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the real server's programs and Python; see director.h for what both halves of LVS share. */
#pragma once

#include "director.h"

enum {
	REALSERVER_ADDRESSES = 4096,
	GUE_PORTS = 8,
};

/* What `rs_addresses` says of an address, besides ADDRESS_VIP and ADDRESS_RIP. */
enum { ADDRESS_DIRECTOR = 1 << 3 };

struct realserver_settings {
	__u32 tunnels;		    /* bits: 1 << enum tunnel_type of each that is taken */
	__u32 only_directors;	    /* tunnels of others than ADDRESS_DIRECTOR are none of ours */
	__be16 gue_port[GUE_PORTS]; /* 0: no more */
	__u16 mss_ipv4;		    /* no SYN with the VIP as source offers more; 0: as it is */
	__u16 mss_ipv6;
};

/*
 * What was done with packets in tunnels; of what is no tunnel nothing is counted.
 * The comments are the manual's text: cause; remedy.
 */
enum realserver_counter {
	COUNT_IPIP,    /* taken out of an IPIP tunnel; none needed */
	COUNT_GUE,     /* taken out of a GUE tunnel; none needed */
	COUNT_GRE,     /* taken out of a GRE tunnel; none needed */
	COUNT_CLAMPED, /* a SYN of the VIP whose MSS was lowered so that answers fit the tunnel; none needed */
	COUNT_ASSEMBLED, /* put together from fragments, before it was looked at as a whole; raise the MTU between director and server */
	COUNT_LEFT_STRANGER, /* a tunnel's packet from none of the --director addresses, left to the kernel; name its sender */
	COUNT_LEFT_NOT_VIP, /* a tunnel's packet for an address that is no VIP here, left to the kernel; add it with --vip */
	COUNT_LEFT_FRAGMENT, /* a fragment of a tunnel's packet that came out of order or is too large, left to the kernel; raise the MTU between director and server */
	COUNT_LEFT_HEADER, /* a tunnel header that no director sends (GRE key, GUE option), left to the kernel; see its sender */
	COUNT_DROP_LENGTH, /* the packet in the tunnel is longer than the tunnel's own; look at its sender */
	COUNT_DROP_NESTED, /* a tunnel within the tunnel; look at its sender */
	COUNT_DROP_ECN, /* a router marked congestion on a packet whose sender does not know ECN; look at the routers */
	COUNT_DROP_CHECKSUM, /* remote checksum offload with a wrong checksum or wrong places; look at the links and its sender */
	COUNT_DROP_DATAGRAMS, /* several datagrams in one within GUE, which the kernel can't part without it; ethtool -K IF tx-udp-segmentation off at the sender */
	COUNT_DROP_REWRITE,   /* the kernel refused to change the packet; please report it */
	REALSERVER_COUNTERS,
};
