/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which way a packet goes, as the state machines know it. */
#pragma once

enum direction {
	INPUT,	    /* client to server, when the answers come through us too */
	OUTPUT,	    /* server to client */
	INPUT_ONLY, /* client to server, when the answers go another way */
	SECURE = 4, /* the same with secure_tcp, which believes in a connection only when its server does */
	DIRECTION_SLOTS = 8,
};
