from models.s3d import *
