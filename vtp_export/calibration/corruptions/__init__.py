"""The fifteen common corruptions of Hendrycks & Dietterich (2019), in the form that detection and COCO-C use.

Source: "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019), and Michaelis et
al. 2019, "Benchmarking Robustness in Object Detection", whose parameters for pictures of any size these are. Motion
blur and elastic transform are other than those of ImageNet-C, which is made for 224 x 224.
"""
