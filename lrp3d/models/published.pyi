from models.published import *
