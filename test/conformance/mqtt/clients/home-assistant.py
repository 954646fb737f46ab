"""Home Assistant's use of paho-mqtt (homeassistant/components/mqtt/client.py): the loop of asyncio, one SUBSCRIBE for
everything, the birth after its answer, and another SUBSCRIBE to get again what is retained. Says what happens in lines
of JSON; `test/control` tells it to subscribe or to publish.

home-assistant.py PORT PROTOCOL TRANSPORT ENTITIES
"""

import asyncio
import json
import sys

import paho.mqtt.client as mqtt

PORT, PROTOCOL, TRANSPORT, ENTITIES = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
DISCOVERY = ["homeassistant/+/+/config", "homeassistant/+/+/+/config", "homeassistant/device/+/config"]
MAX_SUBSCRIBES_PER_CALL = 500
RECONNECT_SEC = 0.2


def say(**event):
    print(json.dumps(event), flush=True)


class HomeAssistant:
    def __init__(self, loop):
        self.loop = loop
        self.connected = False
        self.pending = {}
        self.topics = DISCOVERY + ["test/control"] + [f"zigbee2mqtt/device-{i}" for i in range(ENTITIES)]
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            "home-assistant",
            protocol={"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[PROTOCOL],
            transport=TRANSPORT,
            reconnect_on_failure=False,
        )
        if TRANSPORT == "websockets":
            self.client.ws_set_options("/mqtt")
        self.client.will_set("homeassistant/status", "offline", qos=0, retain=False)
        self.client.on_socket_open = self.on_socket_open
        self.client.on_socket_close = self.on_socket_close
        self.client.on_socket_register_write = lambda c, u, sock: loop.add_writer(sock, self.client.loop_write)
        self.client.on_socket_unregister_write = lambda c, u, sock: loop.remove_writer(sock)
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda c, u, mid, *more: self.answered(mid)
        self.client.on_publish = lambda c, u, mid, *more: self.answered(mid)

    def on_socket_open(self, _client, _userdata, sock):
        self.loop.add_reader(sock, self.client.loop_read)

    def on_socket_close(self, _client, _userdata, sock):
        self.loop.remove_reader(sock)

    def on_connect(self, _client, _userdata, _flags, reason, _properties):
        say(event="connected", reason=str(reason))
        self.connected = not reason.is_failure
        if self.connected:
            self.loop.create_task(self.begin())

    def on_disconnect(self, *_more):
        say(event="disconnected")
        self.connected = False

    def answered(self, mid):
        self.pending.setdefault(mid, self.loop.create_future()).set_result(None)

    async def done(self, mid):
        await self.pending.setdefault(mid, self.loop.create_future())
        del self.pending[mid]

    async def subscribe(self, topics):
        for i in range(0, len(topics), MAX_SUBSCRIBES_PER_CALL):
            _, mid = self.client.subscribe([(topic, 0) for topic in topics[i : i + MAX_SUBSCRIBES_PER_CALL]])
            await self.done(mid)

    async def begin(self):
        await self.subscribe(self.topics)
        info = self.client.publish("homeassistant/status", "online", 0, False)
        await self.done(info.mid)
        say(event="ready")

    def on_message(self, _client, _userdata, message):
        if message.topic != "test/control":
            say(event="message", topic=message.topic, bytes=len(message.payload), retain=message.retain)
            return
        told = json.loads(message.payload)
        if "subscribe" in told:
            self.loop.create_task(self.subscribe([told["subscribe"]]))
        if "publish" in told:
            self.client.publish(told["publish"], told["payload"], told["qos"], told["retain"])

    async def run(self):
        self.client.connect("127.0.0.1", PORT, 60)
        while True:
            if self.client.loop_misc() != mqtt.MQTT_ERR_SUCCESS and not self.connected:
                try:
                    self.client.reconnect()
                except OSError:
                    pass
            await asyncio.sleep(RECONNECT_SEC)


loop = asyncio.new_event_loop()
loop.run_until_complete(HomeAssistant(loop).run())
