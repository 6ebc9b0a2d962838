// Included by LibTorch; nothing of it is named there. See context.h.
#pragma once
