"""Frequencies of rotary position embedding with every supported scaling, as their papers and model cards give them."""
import math

import numpy as np


def plain(head_dim, theta):
    return theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)


def linear(head_dim, theta, factor):
    """Position interpolation, arXiv 2306.15595."""
    return plain(head_dim, theta) / factor


def ntk(head_dim, theta, factor):
    """NTK-aware: the base grows so that the slowest frequency is interpolated by `factor`."""
    return plain(head_dim, theta * factor ** (head_dim / (head_dim - 2)))


def yarn(head_dim, theta, factor, original_length, beta_fast=32.0, beta_slow=1.0):
    """Arxiv 2309.00071: interpolates slow dimensions, leaves fast ones, a ramp in between."""

    def dimension_of(rotations):
        return head_dim * math.log(original_length / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dimension_of(beta_fast)), 0)
    high = min(math.ceil(dimension_of(beta_slow)), head_dim - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(head_dim // 2) - low) / (high - low), 0, 1)
    base = plain(head_dim, theta)
    return base / factor * ramp + base * (1 - ramp)


def yarn_attention_factor(factor):
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def llama3(head_dim, theta, factor, original_length, low_freq_factor, high_freq_factor):
    """Piecewise by wavelength, as Llama 3.1 was trained."""
    result = []
    for freq in plain(head_dim, theta):
        rotations = original_length * freq / (2 * math.pi)
        if rotations < low_freq_factor:
            result.append(freq / factor)
        elif rotations > high_freq_factor:
            result.append(freq)
        else:
            smooth = (rotations - low_freq_factor) / (high_freq_factor - low_freq_factor)
            result.append((1 - smooth) * freq / factor + smooth * freq)
    return np.array(result)
