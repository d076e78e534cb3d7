"""Evaluation of a network: SI-SNR, PESQ, STOI and DNSMOS of each recording, and their means."""
