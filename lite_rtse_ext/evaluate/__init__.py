"""How good a network is: SI-SNR, PESQ and STOI on fixed mixtures, file by file and in sum."""
