/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the kernel's interface that the programs use, so that they build with any compiler that has a BPF target
 * and without any system header. Layouts and numbers are those of the kernel's UAPI headers; they can't change.
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __unused __attribute__((unused))
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define offsetof(type, member) __builtin_offsetof(type, member)
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
/* Keeps the compiler from computing with `x` before this place. */
#define only_from_here_on(x) asm volatile("" : "+r"(x))
/* A number from 1 to `most` (a power of two), in a form in which the verifier of Linux 6.1, too, knows that it is not 0. */
#define bounded(x, most)                                                                                               \
	({                                                                                                             \
		__u32 less_one = ((x) - 1) & ((most) - 1);                                                             \
		only_from_here_on(less_one);                                                                           \
		less_one + 1;                                                                                          \
	})
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The director is built for little-endian BPF only, and the build says so. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian machines are not supported");
#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htonl(x) __builtin_bswap32(x)
#define bpf_ntohl(x) __builtin_bswap32(x)

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_F_NO_PREALLOC = 1 << 0,
	BPF_F_INNER_MAP = 1 << 12,
	BPF_F_MMAPABLE = 1 << 10,
};

enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };
enum { TC_ACT_UNSPEC = -1, TC_ACT_OK = 0, TC_ACT_SHOT = 2, TC_ACT_STOLEN = 4, TC_ACT_REDIRECT = 7 };
enum { PACKET_HOST = 0 };
enum { AF_INET = 2, AF_INET6 = 10 };
enum { CLOCK_MONOTONIC = 1 };

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size;
};

/* Types and codes that the director sends or looks at. */
enum {
	ICMP_DEST_UNREACH = 3,
	ICMP_SOURCE_QUENCH = 4,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_HOST_UNREACH = 1,
	ICMP_PORT_UNREACH = 3,
	ICMP_FRAG_NEEDED = 4,
	ICMPV6_DEST_UNREACH = 1,
	ICMPV6_PACKET_TOO_BIG = 2,
	ICMPV6_TIME_EXCEEDED = 3,
	ICMPV6_PARAMETER_PROBLEM = 4,
	ICMPV6_ADDRESS_UNREACH = 3,
	ICMPV6_PORT_UNREACH = 4,
};

#define ETH_ALEN 6
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum {
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_IPIP = 4,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_IPV6 = 41,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_GRE = 47,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_DSTOPTS = 60,
	IPPROTO_SCTP = 132,
};

struct ethhdr {
	__u8 h_dest[ETH_ALEN];
	__u8 h_source[ETH_ALEN];
	__be16 h_proto;
} __attribute__((packed));

struct iphdr {
	__u8 ihl : 4, version : 4;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 saddr;
	__be32 daddr;
};

struct ipv6hdr {
	__be32 flow; /* version, traffic class, flow label */
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 saddr[4];
	__be32 daddr[4];
};

/* Of every IPv6 extension header but the fragment's, whose second byte is reserved. */
struct ipv6_opt_hdr {
	__u8 nexthdr;
	__u8 hdrlen; /* in units of 8 bytes, without the first */
};

struct frag_hdr {
	__u8 nexthdr;
	__u8 reserved;
	__be16 frag_off;
	__be32 identification;
};

struct icmphdr { /* of ICMPv6, too */
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 rest;
};

struct sctphdr {
	__be16 source;
	__be16 dest;
	__be32 vtag;
	__u32 checksum;
};

struct tcphdr {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack_seq;
	__u8 res1 : 4, doff : 4;
	__u8 flags;
	__be16 window;
	__u16 check;
	__be16 urg_ptr;
};

struct udphdr {
	__be16 source;
	__be16 dest;
	__be16 len;
	__u16 check;
};

struct bpf_spin_lock {
	__u32 val;
};

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

enum {
	BPF_FIB_LKUP_RET_SUCCESS = 0,
	BPF_FIB_LKUP_RET_FWD_DISABLED = 5,
	BPF_FIB_LKUP_RET_NO_NEIGH = 7,
	BPF_FIB_LKUP_RET_FRAG_NEEDED = 8,
};

struct bpf_fib_lookup {
	__u8 family;
	__u8 l4_protocol;
	__be16 sport;
	__be16 dport;
	__u16 tot_len; /* in: 0 leaves the MTU unchecked; out: the MTU of the route */
	__u32 ifindex; /* in: where the packet came in; out: where it goes out */
	__u8 tos;
	__u8 pad[3];
	union {
		__be32 ipv4_src;
		__be32 ipv6_src[4];
	};
	union { /* out: the gateway, if there is one */
		__be32 ipv4_dst;
		__be32 ipv6_dst[4];
	};
	__be16 h_vlan_proto;
	__be16 h_vlan_tci;
	__u8 smac[ETH_ALEN];
	__u8 dmac[ETH_ALEN];
};
_Static_assert(sizeof(struct bpf_fib_lookup) == 64, "the kernel checks this size");

struct bpf_redir_neigh {
	__u32 nh_family;
	union {
		__be32 ipv4_nh;
		__u32 ipv6_nh[4];
	};
};

enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_INGRESS = 1 };
enum { BPF_ADJ_ROOM_NET = 0, BPF_ADJ_ROOM_MAC = 1 };
enum {
	BPF_F_ADJ_ROOM_FIXED_GSO = 1 << 0,
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 1 << 1,
	BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 1 << 2,
	BPF_F_ADJ_ROOM_ENCAP_L4_GRE = 1 << 3,
	BPF_F_ADJ_ROOM_ENCAP_L4_UDP = 1 << 4,
	BPF_F_ADJ_ROOM_NO_CSUM_RESET = 1 << 5,
};
enum { BPF_F_RECOMPUTE_CSUM = 1 << 0, BPF_F_PSEUDO_HDR = 1 << 4, BPF_F_MARK_MANGLED_0 = 1 << 5 };
enum { BPF_CSUM_LEVEL_DEC = 2 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key)__unused = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) __unused = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) __unused = (void *)3;
static __u64 (*bpf_ktime_get_ns)(void) __unused = (void *)5;
static __u32 (*bpf_get_prandom_u32)(void) __unused = (void *)7;
static __u32 (*bpf_get_smp_processor_id)(void) __unused = (void *)8;
static long (*bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 length,
				   __u64 flags) __unused = (void *)9;
static long (*bpf_l3_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to,
				   __u64 flags) __unused = (void *)10;
static long (*bpf_l4_csum_replace)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to,
				   __u64 flags) __unused = (void *)11;
static long (*bpf_clone_redirect)(struct __sk_buff *skb, __u32 ifindex, __u64 flags) __unused = (void *)13;
static __s64 (*bpf_csum_diff)(const void *from, __u32 from_size, const void *to, __u32 to_size,
			      __u32 seed) __unused = (void *)28;
static long (*bpf_skb_change_proto)(struct __sk_buff *skb, __be16 protocol, __u64 flags) __unused = (void *)31;
static long (*bpf_skb_change_tail)(struct __sk_buff *skb, __u32 length, __u64 flags) __unused = (void *)38;
static long (*bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) __unused = (void *)44;
static long (*bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 difference, __u32 mode,
				   __u64 flags) __unused = (void *)50;
static long (*bpf_ringbuf_output)(void *ring, const void *data, __u64 size, __u64 flags) __unused = (void *)130;
static long (*bpf_skb_load_bytes)(const struct __sk_buff *skb, __u32 offset, void *to,
				  __u32 length) __unused = (void *)26;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) __unused = (void *)23;
static long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 length) __unused = (void *)39;
static long (*bpf_fib_lookup)(void *ctx, struct bpf_fib_lookup *params, int size, __u32 flags) __unused = (void *)69;
static long (*bpf_spin_lock)(struct bpf_spin_lock *lock) __unused = (void *)93;
static long (*bpf_spin_unlock)(struct bpf_spin_lock *lock) __unused = (void *)94;
static long (*bpf_csum_level)(struct __sk_buff *skb, __u64 change) __unused = (void *)135;
static void *(*bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags)__unused = (void *)131;
static void (*bpf_ringbuf_submit)(void *record, __u64 flags) __unused = (void *)132;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *params, int size,
				  __u64 flags) __unused = (void *)152;
static long (*bpf_timer_init)(struct bpf_timer *timer, void *map, __u64 clock) __unused = (void *)169;
static long (*bpf_timer_set_callback)(struct bpf_timer *timer, void *callback) __unused = (void *)170;
static long (*bpf_timer_start)(struct bpf_timer *timer, __u64 after_ns, __u64 flags) __unused = (void *)171;
static long (*bpf_loop)(__u32 times, void *callback, void *context, __u64 flags) __unused = (void *)181;
static void *(*bpf_map_lookup_percpu_elem)(void *map, const void *key, __u32 cpu)__unused = (void *)195;
