"""A client that knows nothing but the server's address: everything comes from reflection."""

import grpc
from google.protobuf import any_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from keyhole_process import SERVICE

ERROR_DETAILS = "grpc-status-details-bin"


class ReflectedClient:
    """client.Generate({"text": "..."}) for each method of a service; streams give lists of messages."""

    def __init__(self, address, service=SERVICE):
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20)])
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = sorted(database.get_services())
        self.pool = descriptor_pool.DescriptorPool(database)
        self.methods = {}
        for method in self.pool.FindServiceByName(service).methods:
            self.methods[method.name] = method
            setattr(self, method.name, self._bind(service, method))

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def _bind(self, service, method):
        request_class = message_factory.GetMessageClass(method.input_type)
        response_class = message_factory.GetMessageClass(method.output_type)
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(
            f"/{service}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )

        def invoke(fields=None, timeout=120, **options):
            return call(request_class(**(fields or {})), timeout=timeout, wait_for_ready=False, **options)

        return invoke

    def details(self, error):
        """All google.rpc details of a failed call, by short type name."""
        packed = dict(error.trailing_metadata())[ERROR_DETAILS]
        status = self.message("google.rpc.Status").FromString(packed)
        found = {}
        for entry in status.details:
            wrapped = any_pb2.Any.FromString(entry.SerializeToString())
            name = wrapped.type_url.split("/")[-1]
            assert name not in found, f"{name} occurs twice"
            found[name.split(".")[-1]] = self.message(name).FromString(wrapped.value)
        return found

    def reason(self, error):
        return self.details(error)["ErrorInfo"].reason

    def close(self):
        self.channel.close()
