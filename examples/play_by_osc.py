"""Plays a running show from any program that speaks OSC. Start `wj play`, then: python examples/play_by_osc.py"""

import time

from pythonosc.udp_client import SimpleUDPClient

show = SimpleUDPClient("127.0.0.1", 9010)
show.send_message("/wj/prompt", ["neon city in the rain", 1.0])  # text, seconds
time.sleep(3)
show.send_message("/wj/act/jump", 1)
for i in range(60):  # a fader, as a TouchDesigner CHOP would send it
    show.send_message("/wj/cam/yaw", i / 60)
    time.sleep(1 / 30)
show.send_message("/wj/cam/yaw", 0.0)
show.send_message("/wj/word/rain", 0.0)  # the rain stops
show.send_message("/wj/act/dance", 1)
