from models.resnet import *
