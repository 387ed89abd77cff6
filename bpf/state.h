/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's state machine of a balanced TCP connection, as tables: [direction][event][state]. */
#pragma once

#include "sctp.h"

enum tcp_event { EVENT_SYN, EVENT_FIN, EVENT_ACK, EVENT_RST, EVENT_NOTHING, EVENTS };

enum { TCP_FIN = 0x01, TCP_SYN = 0x02, TCP_RST = 0x04, TCP_ACK = 0x10 };

#define NO STATE_NONE
#define ES STATE_ESTABLISHED
#define SS STATE_SYN_SENT
#define SR STATE_SYN_RECV
#define FW STATE_FIN_WAIT
#define TW STATE_TIME_WAIT
#define CL STATE_CLOSE
#define CW STATE_CLOSE_WAIT
#define LA STATE_LAST_ACK
#define LI STATE_LISTEN
#define SA STATE_SYNACK

/* clang-format off */
static const __u8 next_state[DIRECTION_SLOTS][EVENTS][STATE_SLOTS] = {
	[INPUT] = {		/* NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
		[EVENT_SYN] =	  {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR},
		[EVENT_FIN] =	  {CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW},
		[EVENT_ACK] =	  {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
		[EVENT_RST] =	  {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[OUTPUT] = {
		[EVENT_SYN] =	  {SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR},
		[EVENT_FIN] =	  {TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW},
		[EVENT_ACK] =	  {ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES},
		[EVENT_RST] =	  {CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[INPUT_ONLY] = {
		[EVENT_SYN] =	  {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR},
		[EVENT_FIN] =	  {CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW},
		[EVENT_ACK] =	  {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
		[EVENT_RST] =	  {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[SECURE | INPUT] = {
		[EVENT_SYN] =	  {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA},
		[EVENT_FIN] =	  {CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA},
		[EVENT_ACK] =	  {ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA},
		[EVENT_RST] =	  {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[SECURE | OUTPUT] = {
		[EVENT_SYN] =	  {SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA},
		[EVENT_FIN] =	  {TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW},
		[EVENT_ACK] =	  {ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES},
		[EVENT_RST] =	  {CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
	[SECURE | INPUT_ONLY] = {
		[EVENT_SYN] =	  {SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA},
		[EVENT_FIN] =	  {CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW},
		[EVENT_ACK] =	  {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
		[EVENT_RST] =	  {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
		[EVENT_NOTHING] = {CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
	},
};

/* What a listing counts as ActiveConn; all others, and all of UDP, are InActConn. */
static const __u8 active_state[STATE_SLOTS] = {[ES] = 1, [SS] = 1, [SR] = 1, [SA] = 1, [STATE_SCTP_ESTABLISHED] = 1};
/* clang-format on */

#undef NO
#undef ES
#undef SS
#undef SR
#undef FW
#undef TW
#undef CL
#undef CW
#undef LA
#undef LI
#undef SA

static __always_inline enum tcp_event tcp_event(__u8 flags)
{
	if (flags & TCP_RST)
		return EVENT_RST;
	if (flags & TCP_SYN)
		return EVENT_SYN;
	if (flags & TCP_FIN)
		return EVENT_FIN;
	return flags & TCP_ACK ? EVENT_ACK : EVENT_NOTHING;
}

static __always_inline __u32 state_after(__u32 state, __u32 direction, __u8 protocol, __u16 tcp_flags)
{
	if (unlikely(tcp_flags & (NO_FLAGS | NO_CHUNK)))
		return state;
	if (protocol != IPPROTO_TCP)
		return unlikely(protocol == IPPROTO_SCTP) ? sctp_state_after(state, direction, tcp_flags) : STATE_UDP;
	return next_state[direction][tcp_event(tcp_flags)][state % STATE_SLOTS];
}
