// Java's own HttpClient, as LangChain4j and Spring AI use it: it offers HTTP/2 with its first request (Upgrade: h2c).
// Bodies are written by hand, because the JDK has no JSON. Texts of answers stay as JSON has them, and go back so.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Client {
    static final String URL = System.getenv("VITRINE_API_URL");
    static final String KEY = System.getenv("VITRINE_API_KEY");
    static final String MODEL = System.getenv("VITRINE_MODEL");

    // configuration
    static final HttpClient client = HttpClient.newHttpClient();
    static final HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(URL + "/chat/completions"))
        .header("Authorization", "Bearer " + KEY)
        .header("Content-Type", "application/json");
    // end

    static final String TEXT = "\"((?:[^\"\\\\]|\\\\.)*)\"";
    static final String TOOLS = """
        "tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]""";
    static final String FORM = """
        "response_format": {"type": "json_schema", "json_schema": {"name": "picture", "schema": {"type": "object",
          "properties": {"shapes": {"type": "array", "items": {"type": "object", "properties": {
            "shape": {"type": "string"}, "color": {"type": "string"}}, "required": ["shape", "color"],
            "additionalProperties": false}}}, "required": ["shapes"], "additionalProperties": false}}}""";

    static String quoted(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"';
    }

    static String asked(String text) {
        return "{\"role\": \"user\", \"content\": " + quoted(text) + "}";
    }

    static String seen(String text) throws IOException {
        byte[] picture = Files.readAllBytes(Path.of(System.getenv("VITRINE_PICTURE")));
        String url = "data:image/png;base64," + Base64.getEncoder().encodeToString(picture);
        return "{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"" + url
            + "\"}}, {\"type\": \"text\", \"text\": " + quoted(text) + "}]}";
    }

    static HttpRequest ask(String messages, String more) {
        String body = "{\"model\": " + quoted(MODEL) + ", \"temperature\": 0, \"max_tokens\": 128, \"messages\": ["
            + messages + "]" + (more.isEmpty() ? "" : ", " + more) + "}";
        return request.copy().POST(HttpRequest.BodyPublishers.ofString(body)).build();
    }

    static String answer(String messages, String more) throws IOException, InterruptedException {
        HttpResponse<String> response = client.send(ask(messages, more), HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) throw new IOException(response.statusCode() + " " + response.body());
        return response.body();
    }

    static String first(String name, String json) throws IOException {
        Matcher found = Pattern.compile("\"" + name + "\":\\s*" + TEXT).matcher(json);
        if (!found.find()) throw new IOException("no " + name + " in " + json);
        return found.group(1);
    }

    static String content(String messages, String more) throws IOException, InterruptedException {
        return '"' + first("content", answer(messages, more)) + '"';
    }

    static String stream() throws IOException, InterruptedException {
        HttpResponse<java.util.stream.Stream<String>> response =
            client.send(ask(seen("What is in this picture?"), "\"stream\": true"), HttpResponse.BodyHandlers.ofLines());
        List<String> pieces = new ArrayList<>();
        for (String line : (Iterable<String>) response.body()::iterator) {
            Matcher found = Pattern.compile("\"content\":\\s*" + TEXT).matcher(line);
            if (line.startsWith("data: ") && found.find()) pieces.add('"' + found.group(1) + '"');
        }
        return "[" + String.join(",", pieces) + "]";
    }

    static String secondTurn() throws IOException, InterruptedException {
        String question = seen("图里有什么？");
        String said = "{\"role\": \"assistant\", \"content\": " + content(question, "") + "}";
        return content(question + ", " + said + ", " + asked("圆形是什么颜色？"), "");
    }

    static String tools() throws IOException, InterruptedException {
        String question = asked("What is the weather in Paris?");
        String body = answer(question, TOOLS);
        String message = "{\"role\": \"assistant\", \"content\": null, "
            + body.substring(body.indexOf("\"tool_calls\":"), body.indexOf("]", body.indexOf("\"tool_calls\":")) + 1) + "}";
        Matcher call = Pattern.compile("\"tool_calls\":\\s*\\[\\{[^\\]]*?\"id\":\\s*" + TEXT).matcher(body);
        if (!call.find()) throw new IOException("no call in " + body);
        String city = first("city", first("arguments", body).replace("\\\"", "\""));
        String result = "{\"role\": \"tool\", \"tool_call_id\": \"" + call.group(1) + "\", \"content\": "
            + quoted("{\"city\": \"" + city + "\", \"weather\": \"sunny\", \"temperature\": 21}") + "}";
        String told = content(question + ", " + message + ", " + result, TOOLS);
        return "{\"cities\": [\"" + city + "\"], \"text\": " + told + "}";
    }

    static String schema() throws IOException, InterruptedException {
        String text = content(seen("Describe the picture."), FORM);
        return text.substring(1, text.length() - 1).replace("\\\"", "\"").replace("\\n", "\n");
    }

    static String perform(String task) throws IOException, InterruptedException {
        return switch (task) {
            case "chat" -> content(asked("Who are you?"), "");
            case "image" -> content(seen("What is in this picture?"), "");
            case "stream" -> stream();
            case "second turn" -> secondTurn();
            case "tools" -> tools();
            case "schema" -> schema();
            default -> throw new IOException("no such task");
        };
    }

    public static void main(String[] words) throws InterruptedException {
        System.setOut(new java.io.PrintStream(System.out, true, StandardCharsets.UTF_8));
        for (String task : System.getenv("VITRINE_TASKS").split(",")) {
            String line;
            try {
                line = "\"ok\": true, \"got\": " + perform(task).replace("\n", " ");
            } catch (IOException error) {
                line = "\"ok\": false, \"got\": " + quoted(error.toString());
            }
            System.out.println("{\"task\": " + quoted(task) + ", " + line + "}");
        }
    }
}
