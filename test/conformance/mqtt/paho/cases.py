"""
The cases of Eclipse Paho's interoperability suites (paho.mqtt.testing, client_test5.py and client_test.py), written
anew for paho-mqtt as the client, because the suites bring a client of their own and are in no package registry. Where
a client may not break the rules, the bytes are written by hand.

cases.py PORT 5|4 prints one JSON line per case: its name, and an error or null.
"""
import json
import queue
import socket
import sys
import threading
import time

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv311, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
IS5 = sys.argv[2] == '5'
TOPICS = ('TopicA', 'TopicA/B', 'Topic/C', 'TopicA/C', '/TopicA')
PATIENCE_S = 10


def properties(kind, **values):
    made = Properties(getattr(PacketTypes, kind))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Peer:
    """A client that keeps what it hears."""

    def __init__(self, name, manual_ack=False, loop=True, clean=True):
        options = {} if IS5 else {'clean_session': clean}
        self.clean = clean
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5 if IS5 else MQTTv311,
                             manual_ack=manual_ack, reconnect_on_failure=False, **options)
        self.loop = loop
        self.messages = []
        self.events = queue.Queue()
        self.ended = threading.Event()
        self.reason = None
        self.connack = None
        self.client.on_message = lambda c, u, m: self.messages.append(m)
        self.client.on_connect = lambda c, u, flags, reason, props: self.events.put(('connack', flags, reason, props))
        self.client.on_subscribe = lambda c, u, mid, reasons, props: self.events.put(('suback', mid, reasons))
        self.client.on_unsubscribe = lambda c, u, mid, reasons, props: self.events.put(('unsuback', mid, reasons))
        self.client.on_publish = lambda c, u, mid, reason, props: self.events.put(('published', mid, reason))
        self.client.on_disconnect = self._gone

    def _gone(self, client, userdata, flags, reason, props):
        self.reason = reason
        self.ended.set()

    def connect(self, keepalive=60, **values):
        options = {}
        if IS5:
            options = {'clean_start': self.clean, 'properties': properties('CONNECT', **values)}
        self.client.connect('127.0.0.1', PORT, keepalive, **options)
        if self.loop:
            self.client.loop_start()
        else:
            while self.events.empty():
                self.client.loop(1)
        self.connack = self.wait('connack')
        return self.connack

    def wait(self, kind):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                event = self.events.get(timeout=until - time.monotonic())
            except queue.Empty:
                break
            if event[0] == kind:
                return event[1:]
        raise AssertionError('no %s came' % kind)

    def subscribe(self, filters, qos=2, props=None, **options):
        if IS5:
            asked = [(one, SubscribeOptions(qos=qos, **options)) for one in filters]
            self.client.subscribe(asked, properties=props)
        else:
            self.client.subscribe([(one, qos) for one in filters])
        return [reason.value for reason in self.wait('suback')[1]]

    def publish(self, topic, payload, qos=0, retain=False, **values):
        props = properties('PUBLISH', **values) if IS5 else None
        info = self.client.publish(topic, payload, qos, retain, props)
        info.wait_for_publish(PATIENCE_S)
        return info

    def heard(self, count):
        """Waits for so many messages, and sees that no more come."""
        until = time.monotonic() + PATIENCE_S
        while len(self.messages) < count and time.monotonic() < until:
            time.sleep(0.01)
        self.barrier()
        texts = [(m.topic, m.payload.decode(), m.qos) for m in self.messages]
        assert len(self.messages) == count, 'wanted %d, got %s' % (count, texts)
        return self.messages

    def barrier(self):
        """Whatever the broker had for this client before has come when UNSUBACK has."""
        if not self.ended.is_set() and self.loop:
            self.client.unsubscribe('barrier')
            self.wait('unsuback')

    def disconnect(self, **values):
        props = properties('DISCONNECT', **values) if IS5 and values else None
        if IS5:
            self.client.disconnect(properties=props)
        else:
            self.client.disconnect()
        assert self.ended.wait(PATIENCE_S), 'DISCONNECT was not sent'
        self.client.loop_stop()

    def terminate(self):
        """The connection breaks without a word."""
        sock = self.client.socket()
        sock.shutdown(socket.SHUT_RDWR)
        self.ended.wait(PATIENCE_S)
        self.client.loop_stop()


def connected(name, **options):
    values = {k: options.pop(k) for k in list(options) if k[0].isupper() or k == 'keepalive'}
    peer = Peer(name, **options)
    peer.connect(**values)
    return peer


def kept(name, **options):
    """With a session that is kept."""
    values = {'SessionExpiryInterval': 9999} if IS5 else {}
    return connected(name, clean=False, **values, **options)


def forget(*names):
    for name in names:
        connected(name).disconnect()


def present(peer):
    return peer.connack[0].session_present


def raw(*parts):
    """Sends bytes, and gives what comes until the connection ends."""
    with socket.create_connection(('127.0.0.1', PORT), PATIENCE_S) as sock:
        sock.settimeout(PATIENCE_S)
        for part in parts:
            sock.sendall(part)
        got = b''
        while True:
            try:
                more = sock.recv(4096)
            except ConnectionResetError:
                return got
            if not more:
                return got
            got += more


def text(value):
    return len(value).to_bytes(2, 'big') + value


def raw_connect(name=b'MQTT', client=b'raw', props=b''):
    body = text(name) + (b'\x05\x02\x00\x3c' + bytes([len(props)]) + props if IS5 else b'\x04\x02\x00\x3c') + text(client)
    return bytes([0x10, len(body)]) + body


def raw_publish(topic, packet_id, alias=None):
    props = b'' if not IS5 else b'\x00' if alias is None else b'\x03\x23' + alias.to_bytes(2, 'big')
    body = text(topic) + packet_id.to_bytes(2, 'big') + props + b'x'
    return bytes([0x34, len(body)]) + body


# ---- both versions

def basic():
    a = connected('myclientid')
    a.disconnect()
    a = connected('myclientid')
    a.subscribe([TOPICS[0]])
    for qos in (0, 1, 2):
        a.publish(TOPICS[0], 'qos %d' % qos, qos)
    assert sorted(m.qos for m in a.heard(3)) == [0, 1, 2]
    a.disconnect()
    got = raw(raw_connect(), raw_connect())
    assert got[:1] == b'\x20' and got[3] == 0, got
    assert got[2 + got[1]:] == (b'\xe0\x01\x82' if IS5 else b''), 'a second CONNECT: %r' % got
    got = raw(raw_connect(name=b'hj'))
    assert got == b'' or got[3] != 0, 'a wrong protocol name: %r' % got


def retained_message():
    a = connected('myclientid')
    values = {'UserProperty': [('a', '2'), ('c', '3')]} if IS5 else {}
    for qos, topic in enumerate(TOPICS[1:4]):
        a.publish(topic, 'qos %d' % qos, qos, True, **values)
    a.subscribe(['+/+'])
    messages = a.heard(3)
    assert sorted(m.qos for m in messages) == [0, 1, 2] and all(m.retain for m in messages)
    if IS5:
        assert all(m.properties.UserProperty == [('a', '2'), ('c', '3')] for m in messages)
    for topic in TOPICS[1:4]:
        a.publish(topic, '', 1, True)
    a.disconnect()
    b = connected('myclientid2')
    b.subscribe(['+/+'])
    b.heard(0)
    b.disconnect()


def will_message():
    b = kept('myclientid2')
    b.subscribe([TOPICS[2]])
    a = Peer('myclientid')
    a.client.will_set(TOPICS[2], 'client not disconnected')
    a.connect(keepalive=2)
    a.terminate()
    b.heard(1)
    b.disconnect()
    forget('myclientid2')


def zero_length_clientid():
    if IS5:
        a = Peer('', clean=False)
        a.connect()
        assert a.connack[2].AssignedClientIdentifier != ''
        a.disconnect()
    else:
        got = raw(b'\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00')
        assert got == b'\x20\x02\x00\x02', got
    connected('').disconnect()


def offline_message_queueing():
    a = kept('myclientid')
    a.subscribe(['+/+'])
    a.disconnect()
    b = connected('myclientid2')
    for qos, topic in enumerate(TOPICS[1:4]):
        b.publish(topic, 'qos %d' % qos, qos)
    b.disconnect()
    a = kept('myclientid')
    assert present(a)
    assert [m.qos for m in a.heard(2)] == [1, 2], 'QoS 0 is not queued'
    a.disconnect()
    forget('myclientid')


def overlapping_subscriptions():
    a = connected('myclientid')
    a.subscribe(['TopicA/#'], 2)
    a.subscribe(['TopicA/+'], 1)
    a.publish(TOPICS[3], 'overlapping topic filters', 2)
    assert a.heard(1)[0].qos == 2
    a.disconnect()


def keepalive():
    b = connected('myclientid2', keepalive=0)
    b.subscribe([TOPICS[4]])
    a = Peer('myclientid', loop=False)
    a.client.will_set(TOPICS[4], 'keepalive expiry')
    a.connect(keepalive=2)
    b.heard(1)
    b.disconnect()
    a.client._sock_close()


def redelivery_on_reconnect():
    b = kept('myclientid2')
    b.subscribe(['TopicA/#'])
    b.client.loop_stop()  # nothing is read, and so nothing answered
    a = connected('myclientid')
    a.publish(TOPICS[1], 'one', 1)
    a.publish(TOPICS[3], 'two', 2)
    a.disconnect()
    assert b.messages == []
    b.client.socket().close()
    b = kept('myclientid2')
    assert [(m.payload, m.qos, m.dup) for m in b.heard(2)] == [(b'one', 1, True), (b'two', 2, True)]
    b.disconnect()
    forget('myclientid2')


def subscribe_failure():
    a = connected('myclientid')
    assert a.subscribe(['test/nosubscribe']) == [0x87 if IS5 else 0x80]
    a.disconnect()


def dollar_topics():
    b = connected('myclientid2')
    b.subscribe(['+/+'])
    b.publish('$' + TOPICS[1], 'x', 1)
    b.heard(0)
    b.disconnect()


# ---- 5.0

def unsubscribe():
    b = connected('myclientid2')
    b.subscribe(TOPICS[:3])
    b.client.unsubscribe(TOPICS[0])
    b.wait('unsuback')
    a = connected('myclientid')
    for topic in TOPICS[:3]:
        a.publish(topic, topic, 1)
    assert sorted(m.topic for m in b.heard(2)) == sorted(TOPICS[1:3])
    a.disconnect()
    b.disconnect()


def session_expiry():
    forget('myclientid')
    for expiry, wait_s, is_there in ((0, 0, False), (5, 1, True), (1, 3, False)):
        connected('myclientid').disconnect()
        a = connected('myclientid', clean=False, SessionExpiryInterval=expiry)
        assert not present(a)
        a.subscribe([TOPICS[0]])
        a.disconnect()
        time.sleep(wait_s)
        a = connected('myclientid', clean=False, SessionExpiryInterval=expiry)
        assert present(a) == is_there, 'expiry %d after %d s' % (expiry, wait_s)
        a.disconnect()
    a = connected('myclientid', SessionExpiryInterval=1)
    a.subscribe([TOPICS[0]])
    a.disconnect(SessionExpiryInterval=5)
    time.sleep(3)
    a = connected('myclientid', clean=False, SessionExpiryInterval=1)
    assert present(a), 'DISCONNECT made it longer'
    a.disconnect(SessionExpiryInterval=0)
    a = connected('myclientid', clean=False)
    assert not present(a), 'DISCONNECT ended it'
    a.disconnect()


def shared_subscriptions():
    shared = '$share/sharename/' + TOPICS[0]
    a, b = connected('myclientid'), connected('myclientid2')
    for one in (a, b):
        one.subscribe([shared, TOPICS[0]])
    for i in range(10):
        a.publish(TOPICS[0], 'message %d' % i, 0)
    a.barrier()
    b.barrier()
    total = len(a.messages) + len(b.messages)
    assert total == 30, 'each has ten of its own, and ten are shared: %d' % total
    assert len(a.messages) > 10 and len(b.messages) > 10, (len(a.messages), len(b.messages))
    a.disconnect()
    b.disconnect()


def properties_passed(**values):
    a = connected('myclientid')
    a.subscribe([TOPICS[0]])
    for qos in (0, 1, 2):
        a.publish(TOPICS[0], 'x', qos, **values)
    messages = a.heard(3)
    for m in messages:
        for name, value in values.items():
            assert getattr(m.properties, name) == value, (name, m.properties)
    assert sorted(m.qos for m in messages) == [0, 1, 2]
    a.disconnect()


def user_properties():
    properties_passed(UserProperty=[('a', '2'), ('c', '3')])


def payload_format():
    properties_passed(PayloadFormatIndicator=1, ContentType='My name')


def publication_expiry():
    b = kept('myclientid2')
    b.subscribe([TOPICS[0]])
    b.disconnect()
    a = connected('myclientid')
    for expiry in (1, 6):
        for qos in (1, 2):
            a.publish(TOPICS[0], '%d' % expiry, qos, MessageExpiryInterval=expiry)
    time.sleep(2)
    b = kept('myclientid2')
    messages = b.heard(2)
    assert all(m.payload == b'6' and m.properties.MessageExpiryInterval < 6 for m in messages)
    a.disconnect()
    b.disconnect()
    forget('myclientid2')


def subscribe_options():
    a, b = connected('myclientid'), connected('myclientid2')
    for one in (a, b):
        one.subscribe([TOPICS[0]], noLocal=True)
    a.publish(TOPICS[0], 'noLocal', 1)
    b.heard(1)
    a.heard(0)
    b.disconnect()
    a.disconnect()
    a = connected('myclientid')
    a.subscribe([TOPICS[0]], retainAsPublished=True)
    a.publish(TOPICS[0], 'x', 1)
    a.publish(TOPICS[0], 'y', 1, True)
    assert [m.retain for m in a.heard(2)] == [False, True]
    a.publish(TOPICS[0], '', 1, True)
    a.disconnect()
    a = connected('myclientid')
    for qos, topic in enumerate(TOPICS[1:4]):
        a.publish(topic, 'x', qos, True)
    for handling, counts in ((1, (3, 0)), (2, (0, 0)), (0, (3, 3))):
        b = connected('myclientid2')
        for count in counts:
            b.messages.clear()
            b.subscribe(['+/+'], retainHandling=handling)
            b.heard(count)
        b.disconnect()
    for topic in TOPICS[1:4]:
        a.publish(topic, '', 1, True)
    a.disconnect()


def assigned_clientid():
    a = connected('')
    name = a.connack[2].AssignedClientIdentifier
    assert name != ''
    a.disconnect()
    connected(name).disconnect()


def subscribe_identifiers():
    a, b = connected('myclientid'), connected('myclientid2')
    a.subscribe([TOPICS[0]], props=properties('SUBSCRIBE', SubscriptionIdentifier=456789))
    b.subscribe([TOPICS[0]], props=properties('SUBSCRIBE', SubscriptionIdentifier=2))
    b.subscribe([TOPICS[0] + '/#'], props=properties('SUBSCRIBE', SubscriptionIdentifier=3))
    b.publish(TOPICS[0], 'x', 1)
    assert a.heard(1)[0].properties.SubscriptionIdentifier == [456789]
    assert sorted(b.heard(1)[0].properties.SubscriptionIdentifier) == [2, 3]
    a.disconnect()
    b.disconnect()


def request_response():
    a, b = connected('myclientid'), connected('myclientid2')
    a.subscribe(['answers'])
    b.subscribe([TOPICS[0]])
    a.publish(TOPICS[0], 'request', 1, ResponseTopic='answers', CorrelationData=b'334')
    asked = b.heard(1)[0].properties
    assert (asked.ResponseTopic, asked.CorrelationData) == ('answers', b'334')
    b.publish(asked.ResponseTopic, 'response', 1, CorrelationData=asked.CorrelationData)
    answer = a.heard(1)[0]
    assert (answer.payload, answer.properties.CorrelationData) == (b'response', b'334')
    a.disconnect()
    b.disconnect()


def client_topic_alias():
    for alias in (0, 33):
        got = raw(raw_connect(), raw_publish(b'TopicA', 1, alias))
        assert got.endswith(b'\xe0\x01\x94'), 'alias %d: %r' % (alias, got)
    a = connected('myclientid')
    assert a.connack[2].TopicAliasMaximum == 32
    a.subscribe([TOPICS[0]])
    a.publish(TOPICS[0], 'one', 1, TopicAlias=1)
    a.publish('', 'two', 1, TopicAlias=1)
    assert [(m.topic, m.payload) for m in a.heard(2)] == [(TOPICS[0], b'one'), (TOPICS[0], b'two')]
    a.disconnect()
    got = raw(raw_connect(), raw_publish(b'', 1, 1))
    assert got.endswith(b'\xe0\x01\x82'), 'an alias of another connection: %r' % got


def server_topic_alias():
    a = connected('myclientid', TopicAliasMaximum=1)
    a.subscribe([TOPICS[1]])
    for i in range(4):
        a.publish(TOPICS[1], str(i), 1)
    names = {}
    for i, m in enumerate(a.heard(4)):
        alias = getattr(m.properties, 'TopicAlias', None)
        assert alias in (None, 1), alias
        if m.topic != '' and alias is not None:
            names[alias] = m.topic
        assert (m.topic or names[alias], m.payload) == (TOPICS[1], str(i).encode())
    assert names == {1: TOPICS[1]}
    a.disconnect()
    a = connected('myclientid')
    a.subscribe([TOPICS[1]])
    for i in range(4):
        a.publish(TOPICS[1], str(i), 1)
    assert all(m.topic == TOPICS[1] for m in a.heard(4))
    a.disconnect()


def maximum_packet_size():
    a = connected('myclientid')
    assert a.connack[2].MaximumPacketSize == 1024 * 1024
    a.disconnect()
    got = raw(raw_connect(), b'\x30\xfe\xff\x3f', raw_publish(b'TopicA', 1)[2:])
    assert got.endswith(b'\xe0\x01\x95'), 'a packet of 1 MiB and a byte: %r' % got
    a = connected('myclientid', MaximumPacketSize=64)
    a.subscribe([TOPICS[0]])
    a.publish(TOPICS[0], '.' * 20, 2)
    a.publish(TOPICS[0], '.' * 80, 2)
    a.publish(TOPICS[0], 'last', 2)
    assert [len(m.payload) for m in a.heard(2)] == [20, 4]
    a.disconnect()


def server_keep_alive():
    a = connected('myclientid', keepalive=120)
    assert a.connack[2].ServerKeepAlive == 60
    a.disconnect()


def flow_control_of_the_server():
    """More than its Receive Maximum without an answer to be had."""
    props = b''
    got = raw(raw_connect(props=props), *[raw_publish(b'TopicA', i) for i in range(1, 23)])
    assert got.endswith(b'\xe0\x01\x93'), got
    assert b'\x21\x00\x14' in got[:24], 'Receive Maximum 20: %r' % got


def flow_control_of_the_client():
    b = connected('myclientid2', manual_ack=True, ReceiveMaximum=3)
    b.subscribe([TOPICS[0]])
    a = connected('myclientid')
    for i in range(10):
        a.publish(TOPICS[0], str(i), 1)
    for done in range(0, 10, 3):
        for m in b.heard(min(10, done + 3))[done:]:
            b.client.ack(m.mid, m.qos)
    assert [m.payload for m in b.heard(10)] == [str(i).encode() for i in range(10)]
    a.disconnect()
    b.disconnect()


def will_delay():
    b = connected('myclientid2')
    b.subscribe([TOPICS[0]])
    a = Peer('myclientid', clean=False)
    a.client.will_set(TOPICS[0], 'test_will_delay will message', properties=properties('WILLMESSAGE', WillDelayInterval=2))
    a.connect(SessionExpiryInterval=5)
    a.terminate()
    b.heard(0)
    b.heard(1)
    b.disconnect()
    forget('myclientid')


BOTH = [basic, retained_message, will_message, zero_length_clientid, offline_message_queueing,
        overlapping_subscriptions, keepalive, redelivery_on_reconnect, subscribe_failure, dollar_topics]
ONLY_5 = [unsubscribe, session_expiry, shared_subscriptions, user_properties, payload_format, publication_expiry,
          subscribe_options, assigned_clientid, subscribe_identifiers, request_response, client_topic_alias,
          server_topic_alias, maximum_packet_size, server_keep_alive, flow_control_of_the_server,
          flow_control_of_the_client, will_delay]

for case in BOTH + (ONLY_5 if IS5 else []):
    error = None
    try:
        case()
    except Exception as thrown:  # each case tells of itself
        error = '%s: %s' % (type(thrown).__name__, thrown)
    print(json.dumps({'case': case.__name__, 'error': error}), flush=True)
