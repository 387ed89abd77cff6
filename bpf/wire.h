/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tunnels' own headers: GRE (RFC 2784), GUE (draft-ietf-intarea-gue, version 0) with its remote checksum offload. */
#pragma once

#include "kernel.h"

struct grehdr {
	__be16 flags;
	__be16 protocol;
};

struct guehdr {
	__u8 form; /* version, control, length of what follows these four bytes in words */
	__u8 protocol;
	__be16 flags;
};

struct gue_private {
	__be32 flags;
	__be16 start;  /* of what the checksum covers, from the inner packet's start on */
	__be16 offset; /* where the checksum belongs */
};

enum { GRE_CHECKSUM = 0x8000, GRE_CHECKSUM_BYTES = 4 };
enum { GUE_PRIVATE = 1, GUE_PRIVATE_WORDS = 2 };
enum { GUE_REMCSUM = 0x80000000 };
enum { ECN_MASK = 3, ECN_CE = 3, ECN_ECT0 = 2 };
