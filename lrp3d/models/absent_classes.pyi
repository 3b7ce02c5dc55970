from models.absent_classes import *
