"""serve.py CERTIFICATE KEY USERDATA: plays AWS with moto, over TLS. USERDATA is in Secrets Manager and the Parameter
Store in two pieces each, and in S3 as an object. From then on it checks signatures and permissions. Prints one line
of JSON: its port and the credentials of a role. A line on standard input gets the names of what is left; it ends
with standard input.
"""

import base64
import json
import os
import sys
import threading

import boto3
from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-west-1"
ACTIONS = {
    "secretsmanager": ["GetSecretValue", "DeleteSecret"],
    "ssm": ["GetParameter", "DeleteParameter"],
    "s3": ["GetObject"],
}


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


certificate, key, user_data = sys.argv[1:]
data = open(user_data, "rb").read()
application = DomainDispatcherApplication(create_backend_app)
server = make_server(
    "127.0.0.1", 0, application, threaded=True, request_handler=Quiet, ssl_context=(certificate, key)
)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(AWS_ACCESS_KEY_ID="seed", AWS_SECRET_ACCESS_KEY="seed")


def client(service):
    url = f"https://localhost:{server.port}"
    return boto3.client(service, region_name=REGION, endpoint_url=url, verify=False)


def document(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


half = len(data) // 2
secrets, parameters, objects = client("secretsmanager"), client("ssm"), client("s3")
for number, piece in enumerate((data[:half], data[half:])):
    secrets.create_secret(Name=f"secrets/node-{number}", SecretBinary=piece)
text = base64.b64encode(data).decode()
half = len(text) // 2
for number, piece in enumerate((text[:half], text[half:])):
    parameters.put_parameter(Name=f"/parameters/node/{number}", Value=piece, Type="SecureString")
objects.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
objects.put_object(Bucket="bucket", Key="node/user-data", Body=data)

allowed = [f"{service}:{action}" for service, actions in ACTIONS.items() for action in actions]
trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
role = client("iam").create_role(RoleName="node", AssumeRolePolicyDocument=document(trust))["Role"]
policy = document({"Effect": "Allow", "Action": allowed, "Resource": "*"})
client("iam").put_role_policy(RoleName="node", PolicyName="node", PolicyDocument=policy)
made = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="node")["Credentials"]
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
names = {"Code": "Success", "AccessKeyId": made["AccessKeyId"], "SecretAccessKey": made["SecretAccessKey"]}
print(json.dumps({"port": server.port, "role": names | {"Token": made["SessionToken"]}}), flush=True)

for _ in sys.stdin:
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    left = [secret["Name"] for secret in secrets.list_secrets()["SecretList"]]
    left += [parameter["Name"] for parameter in parameters.describe_parameters()["Parameters"]]
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    print(json.dumps(left), flush=True)
