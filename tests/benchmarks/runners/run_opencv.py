"""Runs OpenCV's DNN module: the image is given as it is, uint8 and NHWC, not through blobFromImage."""

import cv2
import runner


def load(file):
    net = cv2.dnn.readNet(file)
    names = net.getUnconnectedOutLayersNames()

    def predict(image):
        net.setInput(image)
        return dict(zip(names, net.forward(names), strict=True))

    return predict


runner.run(load)
